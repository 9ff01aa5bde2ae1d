/* SPDX-License-Identifier: Apache-2.0 */
/* For lint.sh: cppcheck reads no kernel headers, so it is told which macros begin a loop. */
#define EACH(p, list) for ((p) = first(list); (p); (p) = next(p))
#define list_for_each_entry(p, list, member) EACH(p, list)
#define list_for_each_entry_safe(p, n, list, member) for ((p) = first(list); (n) = next(p), (p); (p) = (n))
#define hash_for_each_possible(table, p, member, key) EACH(p, table)
#define for_each_sg(list, p, nr, i) for ((i) = 0, (p) = (list); (i) < (int)(nr); (i)++, (p) = next(p))
#define for_each_sgtable_dma_sg(table, p, i) for_each_sg((table)->sgl, p, (table)->nents, i)
#define for_each_sgtable_sg(table, p, i) for_each_sg((table)->sgl, p, (table)->nents, i)
