// SPDX-License-Identifier: Apache-2.0
/* The page at /: pools, hit rate and traffic as pictures, drawn by the browser from /status every two seconds. */
#include "admin.h"

/* Names of pools are strangers' text: they reach the page through textContent only. */
static const char page[] =
	"<!doctype html><html lang=en><meta charset=utf-8><title>Mooncake master</title>\n"
	"<meta name=viewport content='width=device-width'>\n"
	"<style>\n"
	"body{font:15px system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#223;background:#fcfcfd}\n"
	"h1{font-size:1.3em}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3em .6em .3em 0}\n"
	".n{text-align:right;font-variant-numeric:tabular-nums}.bar{background:#e4e6ee;height:1em;min-width:12em;border-radius:3px}\n"
	".bar i{display:block;height:100%;background:#4a6fa5;border-radius:3px}.lost,.suspect{color:#a33}.draining{color:#a60}\n"
	"svg{width:100%;height:6em;background:#f1f2f6;border-radius:3px}polyline{fill:none;stroke-width:1.5;\n"
	"vector-effect:non-scaling-stroke}#g{stroke:#4a6fa5}#p{stroke:#b5763a}small{color:#667}\n"
	"</style>\n"
	"<h1>Mooncake master <small id=about></small></h1>\n"
	"<table id=sums></table>\n"
	"<h2>Traffic</h2><svg viewBox='0 0 120 40' preserveAspectRatio=none><polyline id=g /><polyline id=p /></svg>\n"
	"<small>objects per second over four minutes, highest <span id=top>0</span>: looked up or checked (blue), stored\n"
	"(brown)</small>\n"
	"<h2>Pools</h2><table id=pools></table><p><small id=err></small></p>\n"
	"<script>\n"
	"const $=id=>document.getElementById(id),past=[];let last;\n"
	"const size=b=>{const u=['B','KiB','MiB','GiB','TiB','PiB'];let i=0;for(;b>=1024&&i<5;i++)b/=1024;\n"
	"  return b.toFixed(i?1:0)+' '+u[i]};\n"
	"function row(table,cells){const tr=table.insertRow();for(const c of cells){const td=tr.insertCell();\n"
	"  if(typeof c==='object'){const b=document.createElement('div'),i=document.createElement('i');b.className='bar';\n"
	"    i.style.width=100*Math.min(1,c.part)+'%';b.append(i);td.append(b)}\n"
	"  else{td.textContent=c;if(typeof c==='number')td.className='n'}}return tr}\n"
	"function draw(id,k,top){$(id).setAttribute('points',past.map((v,i)=>(120-past.length+i+1)+','+(39-38*v[k]/top)).join(' '))}\n"
	"function show(s){const c=s.counters,now={t:s.uptime_ms,g:c.exist_keys+c.locate_keys,p:c.publish_objects};\n"
	"  if(last&&now.t>last.t){const d=(now.t-last.t)/1000;past.push({g:(now.g-last.g)/d,p:(now.p-last.p)/d});\n"
	"    if(past.length>120)past.shift();const top=Math.max(1,...past.map(v=>Math.max(v.g,v.p)));\n"
	"    draw('g','g',top);draw('p','p',top);$('top').textContent=Math.round(top)}\n"
	"  last=now;const asked=c.exist_keys+c.locate_keys,missed=c.exist_keys_missing+c.locate_keys_missing;\n"
	"  $('about').textContent=s.version+', '+(s.ready?'ready':'waiting for pools')+', up '+Math.round(s.uptime_ms/60000)+' min';\n"
	"  $('sums').replaceChildren();\n"
	"  row($('sums'),['memory',size(s.used)+' of '+size(s.capacity),{part:s.capacity?s.used/s.capacity:0}]);\n"
	"  row($('sums'),['found when asked',asked?(100*(1-missed/asked)).toFixed(1)+' %':'-',{part:asked?1-missed/asked:0}]);\n"
	"  row($('sums'),['objects',s.objects.toLocaleString()+', '+size(s.bytes),'']);\n"
	"  row($('sums'),['clients',s.clients,'']);\n"
	"  $('pools').replaceChildren();row($('pools'),['','state','segment','node','objects','used','']);\n"
	"  for(const p of s.pools){const tr=row($('pools'),[p.index,p.state,p.segment||'-',p.node.slice(0,8),p.objects,size(p.used)+\n"
	"    ' of '+size(p.capacity),{part:p.capacity?p.used/p.capacity:0}]);tr.className=p.state}\n"
	"  $('err').textContent=''}\n"
	"async function tick(){try{show(await(await fetch('status')).json())}\n"
	"  catch(e){$('err').textContent='the master does not answer: '+e}setTimeout(tick,2000)}\n"
	"tick();\n"
	"</script>\n";

void http_page(void *arg, struct http_req *r)
{
	r->content_type = "text/html; charset=utf-8";
	buf_put(r->out, page, sizeof(page) - 1);
}
