/* Shapes and arrays of a call, as index_store/kernel/pair_kernel.py lays them out; all matrices are (in, out).
 *
 * Matrices are stored in panels of PANEL columns, (panels, in, PANEL), the last one padded with zeros, and so are
 * biases; rows of a matrix are therefore read in order by `dense`.
 */
#ifndef PAIRS_H
#define PAIRS_H

#include <stddef.h>
#include <stdint.h>

#define PANEL 4

struct layer {
    const float *weights, *bias;
    int64_t in, out;
};

struct model {
    int64_t dim, user_tokens, item_tokens, tokens, fm_tokens, features, tasks, hidden_layers;
    const struct layer *hidden;    /* the interaction tower, each with a ReLU */
    struct layer pair, direct;     /* its token, and its own logits; the latter's bias is that of all logits */
    struct layer fm_in, fm_out;    /* from centred, scaled products, with a ReLU; and on to fm_tokens tokens */
    const float *mix;              /* (tokens,) how much of the pair's centred token each token takes */
    const float *head;             /* (tokens) panels of (dim, tasks) */
    float products_epsilon, tokens_epsilon;
};

/* Spectral vectors of the items, and those of the user: what the last SPECTRAL features of a pair come of. */
#define SPECTRAL 8
#define CUTS 4

struct spectral {
    const int8_t *values;          /* (N, width), the head */
    const uint8_t *tail;           /* (N, tail_width), two elements a byte, each as 4 bits, 8 of which are zero */
    const float *steps, *tail_steps, *popularity;
    int64_t width, tail_width;     /* the head is whole vectors long where there is a tail */
    int64_t cuts[CUTS];            /* of products by rank, in the head; all but the last are multiples of 16 */
    const float *sums, *weighted;  /* (width + 2 tail_width,), followed by zeros for at least a vector */
    float tail_sum, tail_weighted; /* what the tail's products have too much, since its zero is 8 */
    const float *scales;           /* (CUTS + 2,) of the products by rank, the weighted and the plain one */
    float history, relative_factor, raw_offset;
};

struct call {
    const float *user;             /* user tokens, then the user's share of the tokens, centred */
    const void *items;             /* (N, width) item tokens, then the item's share, as float or half */
    int64_t half, count;           /* N */
    const int64_t *rows;           /* (pairs,) of items */
    const float *features;         /* (pairs, features), but for the spectral ones */
    const struct spectral *spectral;  /* NULL if the features are complete */
    int64_t pairs;
    float *logits;                 /* (pairs, tasks) */
};

#endif
