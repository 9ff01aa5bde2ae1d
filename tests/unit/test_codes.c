/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of existing callers. */
#include "mctest.h"

#include <errno.h>
#include <mooncake/compat.h>

TEST(store_codes)
{
	EXPECT_EQ(mc_store_code(0), 0);
	EXPECT_EQ(mc_store_code((int64_t)1 << 40), (int64_t)1 << 40);
	EXPECT_EQ(mc_store_code(-ENOENT), -704);
	EXPECT_EQ(mc_store_code(-EBUSY), -706);
	EXPECT_EQ(mc_store_code(-ENOSPC), -200);
	EXPECT_EQ(mc_store_code(-EINVAL), -600);
	EXPECT_EQ(mc_store_code(-ECONNREFUSED), -900);
	EXPECT_EQ(mc_store_code(-ETIMEDOUT), -901);
	EXPECT_EQ(mc_store_code(-EBADMSG), -801);
	EXPECT_EQ(mc_store_code(-EXDEV), -1);
}

TEST(engine_codes)
{
	EXPECT_EQ(mc_engine_code(0), 0);
	EXPECT_EQ(mc_engine_code(-EINVAL), -1);
	EXPECT_EQ(mc_engine_code(-EEXIST), -7);
	EXPECT_EQ(mc_engine_code(-ENOENT), -3);
	EXPECT_EQ(mc_engine_code(-ECONNREFUSED), -102);
	EXPECT_EQ(mc_engine_code(-ENETUNREACH), -102);
	EXPECT_EQ(mc_engine_code(-EPIPE), -102);
	EXPECT_EQ(mc_engine_code(-EADDRINUSE), -102);
	EXPECT_EQ(mc_engine_code(-EIO), -200);
	EXPECT_EQ(mc_engine_code(-EACCES), -200);
	EXPECT_EQ(mc_engine_code(-EXDEV), -1);
}

TEST(names)
{
	EXPECT_STREQ(mc_store_code_name(0), "OK");
	EXPECT_STREQ(mc_store_code_name(-704), "OBJECT_NOT_FOUND");
	EXPECT_STREQ(mc_store_code_name(-1605), "DFS_PARTIAL_WRITE");
	EXPECT_STREQ(mc_store_code_name(-1702), "TENANT_NOT_EMPTY");
	EXPECT_STREQ(mc_store_code_name(-12345), "UNKNOWN_ERROR");
}
