/* What the sources of each owner reach, added up by key; index_store/features/walks.py says what that is for.
 *
 * An owner has a few thousand hits by one walk. Where they lie close together they are added up in a table with a place
 * for every key, else after a radix sort. Both add in the order of the sources.
 */
#include <stdint.h>
#include <stdlib.h>

#define BITS 8  /* of a digit */
#define DIGITS (1 << BITS)
#define FEW 48  /* so many hits are sorted by insertion */
#define THIN 4  /* keys for each hit, above which a table is too sparse */

struct walk {
    const int64_t *bounds, *sources;       /* sources of owner b: [bounds[b], bounds[b + 1]) */
    const float *of_sources, *recencies;   /* of each source, or null: weights 1, recencies 0 */
    const int64_t *indptr;                 /* of the keys of `reached` sources */
    const int32_t *keys;
    const float *of_keys;                  /* weights of the keys, or null: those of the sources */
    int64_t reached, first;                /* `first` is added to each key */
};

struct sums {
    int64_t *indptr;                       /* of the keys of (owner, walk) */
    int32_t *keys;
    float *matches, *sums, *squares, *best, *recencies;
};

struct hit {
    uint32_t key;
    float weight, recency;
};

struct total {
    double sum, squares;
    float matches, best, recency;  /* weights and recencies are not negative */
};

/* Hits of all owners; -2 where a source is not among those reached. `most` becomes the hits of one owner by one walk,
 * at most. */
int64_t count_hits(const struct walk *walks, int64_t n_walks, int64_t owners, int64_t *most) {
    int64_t all = 0;
    *most = 0;
    for (const struct walk *walk = walks; walk < walks + n_walks; walk++)
        for (int64_t owner = 0; owner < owners; owner++) {
            int64_t count = 0;
            for (int64_t at = walk->bounds[owner]; at < walk->bounds[owner + 1]; at++) {
                int64_t source = walk->sources[at];
                if (source < 0 || source >= walk->reached) return -2;
                count += walk->indptr[source + 1] - walk->indptr[source];
            }
            if (count > *most) *most = count;
            all += count;
        }
    return all;
}

/* Sorts hits by key, equal ones as they were; `other` has room for as many. Returns the buffer that holds the result. */
static struct hit *sorted(struct hit *hits, struct hit *other, int64_t count, int64_t largest) {
    if (count < FEW) {
        for (int64_t i = 1, j; i < count; i++) {
            struct hit one = hits[i];
            for (j = i; j && hits[j - 1].key > one.key; j--) hits[j] = hits[j - 1];
            hits[j] = one;
        }
        return hits;
    }
    for (int shift = 0; shift < 32 && largest >> shift; shift += BITS) {
        int64_t place[DIGITS] = {0}, sum = 0;
        for (int64_t i = 0; i < count; i++) place[hits[i].key >> shift & (DIGITS - 1)]++;
        for (int digit = 0; digit < DIGITS; digit++) {
            int64_t own = place[digit];
            place[digit] = sum;
            sum += own;
        }
        for (int64_t i = 0; i < count; i++) other[place[hits[i].key >> shift & (DIGITS - 1)]++] = hits[i];
        struct hit *swap = hits;
        hits = other;
        other = swap;
    }
    return hits;
}

static inline void add(struct total *total, const struct hit *hit) {
    total->sum += hit->weight;
    total->squares += hit->weight * hit->weight;
    total->matches++;
    if (hit->weight > total->best) total->best = hit->weight;
    if (hit->recency > total->recency) total->recency = hit->recency;
}

static inline void write(const struct sums *sums, int64_t at, int64_t key, const struct total *total) {
    sums->keys[at] = (int32_t)key;
    sums->matches[at] = total->matches;
    sums->sums[at] = (float)total->sum;
    sums->squares[at] = (float)total->squares;
    sums->best[at] = total->best;
    sums->recencies[at] = total->recency;
}

/* 0; -1 where memory is short. `sums` has room for all hits, and `most` is what `count_hits` said. */
int64_t add_up(const struct walk *walks, int64_t n_walks, int64_t owners, int64_t most, const struct sums *sums) {
    const struct total nothing = {0};
    struct hit *room = malloc(2 * (most + 1) * sizeof *room);
    struct total *table = calloc(THIN * (most + 1), sizeof *table);
    int64_t row = 0, found = 0;
    if (!room || !table) {
        free(room);
        free(table);
        return -1;
    }
    sums->indptr[0] = 0;
    for (int64_t owner = 0; owner < owners; owner++)
        for (const struct walk *walk = walks; walk < walks + n_walks; walk++) {
            int64_t count = 0;
            uint32_t smallest = UINT32_MAX, largest = 0;
            for (int64_t s = walk->bounds[owner]; s < walk->bounds[owner + 1]; s++) {
                float weight = walk->of_sources ? walk->of_sources[s] : 1, recency = walk->recencies ? walk->recencies[s] : 0;
                int64_t end = walk->indptr[walk->sources[s] + 1];
                for (int64_t at = walk->indptr[walk->sources[s]]; at < end; at++, count++) {
                    uint32_t key = walk->keys[at];
                    room[count] = (struct hit){key, walk->of_keys ? walk->of_keys[at] : weight, recency};
                    if (key > largest) largest = key;
                    if (key < smallest) smallest = key;
                }
            }
            for (int64_t i = 0; i < count; i++) room[i].key -= smallest;
            int64_t first = walk->first + smallest, keys = count ? (int64_t)largest - smallest + 1 : 0;
            if (count >= FEW && keys <= THIN * count) {
                for (int64_t i = 0; i < count; i++) add(table + room[i].key, room + i);
                for (int64_t key = 0; key < keys; key++)
                    if (table[key].matches) {
                        write(sums, found++, first + key, table + key);
                        table[key] = nothing;
                    }
            } else {
                const struct hit *hits = sorted(room, room + most, count, keys - 1);
                for (int64_t i = 0; i < count; found++) {
                    struct total total = nothing;
                    uint32_t key = hits[i].key;
                    for (; i < count && hits[i].key == key; i++) add(&total, hits + i);
                    write(sums, found, first + key, &total);
                }
            }
            sums->indptr[++row] = found;
        }
    free(room);
    free(table);
    return 0;
}
