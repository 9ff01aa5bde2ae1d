# SPDX-License-Identifier: Apache-2.0
"""RpcInterface: bytes and tensors sent to a callback in another process, over TCP. Both ends are this module; nothing is unpickled.

    request:  "MCRP", u8 kind (1 bytes, 2 tensor), 3 zero bytes, u64 length, all little endian; then as many bytes
    reply:    i64 status: 0 the callback has had it, else -1
"""
import asyncio
import concurrent.futures
import contextlib
import ctypes
import select
import socket
import struct
import threading

from . import _tensor

_HEAD = struct.Struct("<4sB3xQ")
_TENSOR = struct.Struct("<II4q")
_STATUS = struct.Struct("<q")
_MAGIC = b"MCRP"
_BYTES, _A_TENSOR = 1, 2
_MAX_BYTES = 1 << 30  # of one message
_MAX_PEERS = 1024  # connections that a server serves at once
_DTYPES = (None, "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
_ITEM = (0, 2, 4, 8, 1, 2, 4, 8, 1, 1)


class ReceivedData:
    """Bytes that came from source_address."""

    def __init__(self, source_address: str = "", data: bytes = b""):
        self.source_address = source_address
        self._data = data

    @property
    def data_size(self) -> int:
        return len(self._data)

    def get_bytes(self) -> bytes:
        """A copy of the bytes."""
        return bytes(self._data)

    def get_memory_view(self) -> memoryview:
        """The bytes where they are."""
        return memoryview(self._data)


class ReceivedTensor:
    """A tensor that came from source_address: 40 bytes of header (dtype, dimensions, four sizes), then its elements."""

    def __init__(self, source_address: str = "", data: bytes = b""):
        number, ndim, *dims = _TENSOR.unpack_from(data)
        self.source_address = source_address
        self.shape = dims[:ndim]
        self.dtype = _DTYPES[number]
        self.total_bytes = 0
        self._data = data

    def get_data_size(self) -> int:
        """Bytes, the header included."""
        return len(self._data)

    def get_data_as_bytes(self) -> bytes:
        """A copy of header and elements."""
        return bytes(self._data)

    def get_memory_view(self) -> memoryview:
        """Header and elements where they are."""
        return memoryview(self._data)


def _is_tensor(data):
    if len(data) < _TENSOR.size:
        return False
    number, ndim, *dims = _TENSOR.unpack_from(data)
    if not 1 <= number < len(_DTYPES) or ndim > 4 or min(dims) < 0:
        return False
    size = _ITEM[number]
    for n in dims[:ndim]:
        size *= n
    return len(data) - _TENSOR.size == size


def _address(text):
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"address {text!r} is not host:port")
    return host.strip("[]") or "0.0.0.0", int(port)


class RpcInterface:
    """A client, a server, or both. Any thread may call."""

    def __init__(self):
        self._lock = threading.Lock()
        self._idle = {}  # connections nobody uses, by target
        self._keep = 0  # of those, at most; 0: not a client
        self._timeout = 30
        self._senders = None
        self._listen = None
        self._threads = 8
        self._loop = None
        self._ended = threading.Event()
        self._on_data = self._on_tensor = None

    def initialize(self, listen_address: str = "", thread_count: int = 0, timeout_seconds: int = 30, pool_size: int = 100) -> bool:
        """A client, and with an address to listen at a server too, which start_server() starts."""
        return (not listen_address or self.initialize_server(listen_address, thread_count or 8, timeout_seconds)) and \
            self.initialize_client(pool_size, timeout_seconds)

    def initialize_client(self, pool_size: int = 100, timeout_seconds: int = 30) -> bool:
        """May send from now on; pool_size connections are kept."""
        self._keep, self._timeout = max(1, pool_size), timeout_seconds
        return True

    def initialize_server(self, listen_address: str, thread_count: int = 8, timeout_seconds: int = 30) -> bool:
        """Where start_server() will listen, 'host:port'; callbacks run on up to thread_count threads. False: no address."""
        try:
            self._listen = _address(listen_address)
        except ValueError:
            return False
        self._threads, self._timeout = max(1, thread_count), timeout_seconds
        return True

    # ---- sending

    def _connect(self, target):
        """A connection that is whole: one that the other end has closed, or said something on, is none."""
        with self._lock:
            idle = self._idle.get(target, [])
            while idle:
                s = idle.pop()
                if not select.select([s], [], [], 0)[0]:
                    return s
                s.close()
        s = socket.create_connection(_address(target), self._timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def _send(self, target, kind, *parts):
        length = sum(len(p) for p in parts)
        if not self._keep or length > _MAX_BYTES:
            return -1
        s = None
        try:
            s = self._connect(target)
            s.settimeout(self._timeout)
            s.sendall(_HEAD.pack(_MAGIC, kind, length))
            for p in parts:
                s.sendall(p)
            reply = b""
            while len(reply) < _STATUS.size:
                got = s.recv(_STATUS.size - len(reply))
                if not got:
                    raise ConnectionResetError
                reply += got
        except (OSError, ValueError):
            if s:
                s.close()
            return -1
        with self._lock:
            idle = self._idle.setdefault(target, [])
            if self._keep > sum(map(len, self._idle.values())):
                idle.append(s)
                s = None
        if s:
            s.close()
        return _STATUS.unpack(reply)[0]

    def send_data(self, target_address: str, data: bytes) -> int:
        """0 when the other end's callback has had it; -1 not a client, not reachable, or not in time."""
        return self._send(target_address, _BYTES, memoryview(data).cast("B"))

    def send_tensor(self, target_address: str, tensor) -> int:
        """As send_data(), for a tensor of torch or numpy with up to four dimensions."""
        about = _tensor.describe(tensor)
        name = _tensor.NAMES[about[0]] if about else ""
        if name not in _DTYPES or len(about[1]) > 4:
            return -1
        number, shape = _DTYPES.index(name), tuple(about[1])
        size = _ITEM[number]
        for n in shape:
            size *= n
        elements = (ctypes.c_char * size).from_address(about[2]) if size else b""
        return self._send(target_address, _A_TENSOR, _TENSOR.pack(number, len(shape), *shape, *[0] * (4 - len(shape))),
                          memoryview(elements).cast("B"))

    def _in_background(self, loop, f, *args):
        with self._lock:
            if self._senders is None:
                self._senders = concurrent.futures.ThreadPoolExecutor(8, "mc-rpc-send")
        future = loop.create_future()

        def end(code):
            if future.done():
                return
            if code < 0:
                future.set_exception(RuntimeError(f"could not be sent to {args[0]}"))
            else:
                future.set_result(code)

        def run():
            code = -1
            with contextlib.suppress(Exception):
                code = f(*args)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(end, code)
        self._senders.submit(run)
        return future

    def send_data_async(self, target_address: str, data: bytes, loop) -> asyncio.Future:
        """send_data() as a future of the loop; RuntimeError when it fails."""
        return self._in_background(loop, self.send_data, target_address, data)

    def send_tensor_async(self, target_address: str, tensor, loop) -> asyncio.Future:
        """send_tensor() as a future of the loop; RuntimeError when it fails."""
        return self._in_background(loop, self.send_tensor, target_address, tensor)

    # ---- receiving

    def set_data_receive_callback(self, callback) -> None:
        """callback({'source': 'host:port', 'data': bytes}) for each message, on a thread of the server."""
        self._on_data = callback

    def set_tensor_receive_callback(self, callback) -> None:
        """callback(ReceivedTensor) for each tensor; without one they go where bytes go."""
        self._on_tensor = callback

    def _deliver(self, kind, source, data):
        if kind == _A_TENSOR and not _is_tensor(data):
            return -1
        try:
            if kind == _A_TENSOR and self._on_tensor:
                self._on_tensor(ReceivedTensor(source, data))
            elif self._on_data:
                self._on_data({"source": source, "data": data})
            return 0
        except Exception:
            import traceback
            traceback.print_exc()
            return -1

    async def _serve_one(self, reader, writer, source, work):
        magic, kind, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if magic != _MAGIC or kind not in (_BYTES, _A_TENSOR) or length > _MAX_BYTES:
            raise ConnectionError
        data = await asyncio.wait_for(reader.readexactly(length), self._timeout)
        code = await asyncio.get_running_loop().run_in_executor(work, self._deliver, kind, source, data)
        writer.write(_STATUS.pack(code))
        await asyncio.wait_for(writer.drain(), self._timeout)

    async def _main(self, sock, started):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        peers = set()

        async def serve(reader, writer):
            peers.add(asyncio.current_task())
            source = "%s:%d" % writer.get_extra_info("peername")[:2]
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, asyncio.CancelledError):
                while len(peers) <= _MAX_PEERS:
                    await self._serve_one(reader, writer, source, work)
            peers.discard(asyncio.current_task())
            writer.close()

        with concurrent.futures.ThreadPoolExecutor(self._threads, "mc-rpc") as work:
            server = await asyncio.start_server(serve, sock=sock)
            started.set()
            await self._stop.wait()
            server.close()
            for task in list(peers):
                task.cancel()

    def _run(self, started):
        try:
            family = socket.AF_INET6 if ":" in self._listen[0] else socket.AF_INET
            sock = socket.create_server(self._listen, family=family, backlog=128)
        except (OSError, TypeError):
            started.set()
            return False
        self._ended.clear()
        try:
            asyncio.run(self._main(sock, started))
        finally:
            self._loop = None
            self._ended.set()
        return True

    def start_server(self) -> bool:
        """Serves until stop_server(). False: not initialized as a server, running already, or the address cannot be had."""
        return self._loop is None and self._run(threading.Event())

    def start_server_async(self) -> bool:
        """The same on a thread of its own; True when it listens."""
        if self._loop is not None:
            return False
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), name="mc-rpc-serve", daemon=True).start()
        started.wait()
        return self._loop is not None

    def stop_server(self) -> None:
        """Ends start_server(); calls of callbacks that run are waited for."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._stop.set)
            if not threading.current_thread().name.startswith("mc-rpc"):  # a callback would wait for itself
                self._ended.wait(self._timeout)

    def __del__(self):
        self.stop_server()
        for sockets in self._idle.values():
            for s in sockets:
                s.close()


CoroRPCInterface = RpcInterface  # its older name


def create_rpc_client(local_rank: int = 0, world_size: int = 1) -> RpcInterface:
    """An RpcInterface that may send. The arguments are not used."""
    r = RpcInterface()
    r.initialize_client()
    return r


def create_rpc_server(local_rank: int = 0, world_size: int = 1) -> RpcInterface:
    """An RpcInterface that will listen at 0.0.0.0:8080 once it is started. The arguments are not used."""
    r = RpcInterface()
    r.initialize_server("0.0.0.0:8080")
    return r
