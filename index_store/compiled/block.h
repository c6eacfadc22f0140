/* The kernel for one set of instructions, which NAME, TARGET, WIDE, VECTORS, FROM_BYTES and FROM_HALVES stand for;
 * see pairs.c. */

#define LANES (WIDE * VECTORS)
#define VEC NAME(vec)
#define INTS NAME(ints)
#define ROW NAME(row)
#define INLINE static inline __attribute__((always_inline)) TARGET

typedef float VEC __attribute__((vector_size(4 * WIDE)));
typedef int32_t INTS __attribute__((vector_size(4 * WIDE)));
typedef VEC ROW[VECTORS];

/* PANEL rows of a product: bias + weights' x, over `in` rows of x. */
INLINE void NAME(tile)(const float *weights, const float *bias, int64_t in, const ROW *x, ROW *y, int relu) {
    ROW sum[PANEL];
#pragma GCC unroll 8
    for (int j = 0; j < PANEL; j++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) sum[j][v] = (VEC){0} + bias[j];
    for (int64_t i = 0; i < in; i++, weights += PANEL)
#pragma GCC unroll 8
        for (int j = 0; j < PANEL; j++)
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++) sum[j][v] += weights[j] * x[i][v];
#pragma GCC unroll 8
    for (int j = 0; j < PANEL; j++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            VEC value = sum[j][v];
            y[j][v] = relu ? (VEC)((INTS)value & (value > 0)) : value;
        }
}

/* All rows of a layer's output, which is padded to whole panels. */
static TARGET void NAME(dense)(const struct layer *layer, const ROW *x, ROW *y, int relu) {
    for (int64_t j = 0; j < layer->out; j += PANEL) {
        if (relu)
            NAME(tile)(layer->weights + j * layer->in, layer->bias + j, layer->in, x, y + j, 1);
        else
            NAME(tile)(layer->weights + j * layer->in, layer->bias + j, layer->in, x, y + j, 0);
    }
}

/* 1 / sqrt(x) for x > 0, to a relative error of 2e-7: three steps of Newton from the exponent's half. */
INLINE VEC NAME(rsqrt)(VEC x) {
    VEC root = (VEC)(0x5f3759df - ((INTS)x >> 1));
    for (int step = 0; step < 3; step++) root *= 1.5f - 0.5f * x * root * root;
    return root;
}

/* WIDE floats of a row in memory; halves are finite, so an exponent needs no more than its own offset. */
INLINE VEC NAME(load)(const void *row, int64_t at, int64_t half) {
    VEC value;
    if (!half) {
        memcpy(&value, (const float *)row + at, sizeof value);
        return value;
    }
    INTS bits = (INTS)FROM_HALVES((const uint16_t *)row + at);  /* compilers take __builtin_convertvector apart */
    value = (VEC)((bits & 0x7fff) << 13) * 0x1p112f;
    return (VEC)((INTS)value | ((bits & 0x8000) << 16));
}

/* Swaps the blocks off the diagonal of a matrix of 2 x 2 blocks of side H: a step of a transposition. */
#define STEP(H)                                                                                                        \
    for (int i = 0; i < WIDE; i++)                                                                                     \
        if (!(i & H)) {                                                                                                \
            VEC upper = m[i], lower = m[i + H];                                                                        \
            m[i] = __builtin_shufflevector(upper, lower, PICK(H, 0));                                                  \
            m[i + H] = __builtin_shufflevector(upper, lower, PICK(H, H));                                              \
        }

#define AT(H, FIRST, k) ((k) & (H) ? WIDE + (k) - (H) + (FIRST) : (k) + (FIRST))
#define EIGHT(H, F, k)                                                                                                 \
    AT(H, F, k), AT(H, F, k + 1), AT(H, F, k + 2), AT(H, F, k + 3), AT(H, F, k + 4), AT(H, F, k + 5),                  \
        AT(H, F, k + 6), AT(H, F, k + 7)

/* Columns [at, at + WIDE) of WIDE rows in memory, as WIDE vectors that are `stride` vectors apart. */
#if WIDE == 16
#define PICK(H, F) EIGHT(H, F, 0), EIGHT(H, F, 8)
#else
#define PICK(H, F) EIGHT(H, F, 0)
#endif

INLINE void NAME(transpose)(VEC *m) {
#if WIDE == 16
#pragma GCC unroll 16
    STEP(8)
#endif
#pragma GCC unroll 16
    STEP(4)
#pragma GCC unroll 16
    STEP(2)
#pragma GCC unroll 16
    STEP(1)
}

#undef STEP
#undef AT
#undef EIGHT
#undef PICK

/* Turns LANES rows of `width` numbers into `width` rows of LANES lanes; y has room for whole vectors. */
INLINE void NAME(columns)(const void *const *rows, int64_t width, int64_t half, ROW *y) {
    for (int v = 0; v < VECTORS; v++)
        for (int64_t at = 0; at < width; at += WIDE) {
            VEC m[WIDE];
            int64_t left = width - at;
            if (left >= WIDE) {
#pragma GCC unroll 16
                for (int i = 0; i < WIDE; i++) m[i] = NAME(load)(rows[v * WIDE + i], at, half);
            } else {
                for (int i = 0; i < WIDE; i++) {
                    char rest[4 * WIDE] = {0};
                    int64_t bytes = half ? 2 : 4;
                    memcpy(rest, (const char *)rows[v * WIDE + i] + at * bytes, left * bytes);
                    m[i] = NAME(load)(rest, 0, half);
                }
            }
            NAME(transpose)(m);
#pragma GCC unroll 16
            for (int i = 0; i < WIDE; i++) y[at + i][v] = m[i];
        }
}

/* Takes the mean over rows from each, and returns the mean of their squares. */
INLINE void NAME(centre)(ROW *x, int64_t rows, VEC *squares, int64_t v) {
    VEC sum = {0}, square = {0};
    for (int64_t i = 0; i < rows; i++) sum += x[i][v];
    sum *= 1.0f / rows;
    for (int64_t i = 0; i < rows; i++) {
        x[i][v] -= sum;
        square += x[i][v] * x[i][v];
    }
    *squares = square * (1.0f / rows);
}

/* Natural logarithm of x > 0 to 1e-6: the exponent, and Cephes' polynomial of the rest, in [sqrt(1/2), sqrt(2)). */
INLINE VEC NAME(log)(VEC x) {
    INTS bits = (INTS)x, exponent = (bits >> 23) - 126;
    VEC m = (VEC)((bits & 0x7fffff) | 0x3f000000);
    INTS low = m < 0.70710678f;
    exponent += low;
    m += (VEC)((INTS)m & low) - 1.0f;
    VEC e = __builtin_convertvector(exponent, VEC), square = m * m;
    VEC y = m * 7.0376836292e-2f - 1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m - 1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m - 1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m - 2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    return m + (y * m * square - 2.12194440e-4f * e - 0.5f * square) + 0.693359375f * e;
}

/* WIDE bytes of a spectral vector; those past its end are zeros. */
INLINE INTS NAME(bytes)(const int8_t *vector, int64_t at, int64_t width) {
    int8_t rest[WIDE] = {0};
    if (width - at < WIDE) {
        memcpy(rest, vector + at, width - at);
        vector = rest - at;
    }
    return (INTS)FROM_BYTES(vector + at);
}

/* The sum over each of WIDE vectors, as one. */
INLINE VEC NAME(across)(VEC *m) {
    NAME(transpose)(m);
    VEC sum = m[0];
#pragma GCC unroll 16
    for (int i = 1; i < WIDE; i++) sum += m[i];
    return sum;
}

/* The spectral features of the pairs of a block, as rows; see `SpectralQueries.features`. */
INLINE void NAME(spectral)(const struct spectral *of, const int64_t *rows, ROW *features) {
    for (int v = 0; v < VECTORS; v++) {
        VEC products[CUTS + 1][WIDE], tails[2][WIDE], steps, tail_steps, popularity;
        for (int lane = 0; lane < WIDE; lane++) {
            int64_t row = rows[v * WIDE + lane], at = 0;
            const int8_t *vector = of->values + row * of->width;
            VEC sum = {0}, weighted = {0};
            for (int cut = 0; cut < CUTS; cut++) {
                for (; at < of->cuts[cut]; at += WIDE) {
                    VEC value = __builtin_convertvector(NAME(bytes)(vector, at, of->width), VEC);
                    sum += value * NAME(load)(of->sums, at, 0);
                    weighted += value * NAME(load)(of->weighted, at, 0);
                }
                products[cut][lane] = sum;
            }
            products[CUTS][lane] = weighted;
            const int8_t *tail = (const int8_t *)of->tail + row * of->tail_width;
            const float *low = of->sums + of->width, *low_weighted = of->weighted + of->width;
            const float *high = low + of->tail_width, *high_weighted = low_weighted + of->tail_width;
            sum = weighted = (VEC){0};
            for (at = 0; at < of->tail_width; at += WIDE) {
                INTS both = NAME(bytes)(tail, at, of->tail_width);
                VEC one = __builtin_convertvector(both & 15, VEC), other = __builtin_convertvector(both >> 4 & 15, VEC);
                sum += one * NAME(load)(low, at, 0) + other * NAME(load)(high, at, 0);
                weighted += one * NAME(load)(low_weighted, at, 0) + other * NAME(load)(high_weighted, at, 0);
            }
            tails[0][lane] = sum;
            tails[1][lane] = weighted;
            steps[lane] = of->steps[row];
            tail_steps[lane] = of->tail_steps[row];
            popularity[lane] = of->popularity[row];
        }
        VEC full = {0};
        for (int product = 0; product <= CUTS; product++) {
            VEC sum = NAME(across)(products[product]) * steps;
            if (of->tail_width && product >= CUTS - 1)
                sum += (NAME(across)(tails[product - CUTS + 1]) -
                        (product < CUTS ? of->tail_sum : of->tail_weighted)) * tail_steps;
            if (product == CUTS - 1) full = sum;
            sum *= of->scales[product];
            features[product][v] = NAME(log)((VEC)((INTS)sum & (sum > 0)) * of->relative_factor + 1.0f);
        }
        full *= of->scales[CUTS + 1];
        features[CUTS + 1][v] = NAME(log)((VEC)((INTS)full & (full > 0)) + of->raw_offset);
        features[CUTS + 2][v] = popularity;
        features[CUTS + 3][v] = (VEC){0} + of->history;
    }
}

/* Rows of a block; each has room for PANEL or WIDE more than it holds. */
struct NAME(rows) {
    ROW *features, *items, *hidden[2], *pair, *products, *fm, *tokens, *part, *logits;
};

/* The products between tokens, in the order of fm_in's rows: item by item with each user token, then the pair's with
 * the user's, with the items' and with itself. `user` is the layer from a token to its products with the user's. */
INLINE void NAME(products)(const struct model *model, const struct layer *user, const struct NAME(rows) *of) {
    int64_t dim = model->dim, users = model->user_tokens, items = model->item_tokens;
    ROW *next = of->products;
    for (int64_t token = 0; token <= items; token++, next += users)  /* a panel too long is overwritten by the next */
        NAME(dense)(user, token < items ? of->items + token * dim : of->pair, next, 0);
    for (int64_t token = 0; token <= items; token++, next++) {
        const ROW *other = token < items ? of->items + token * dim : of->pair;
        ROW sum = {{0}};
        for (int64_t k = 0; k < dim; k++)
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++) sum[v] += other[k][v] * of->pair[k][v];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) next[0][v] = sum[v];
    }
}

/* The logits of a block whose features and items are in place. */
static TARGET void NAME(block)(const struct model *model, const float *linear, const struct layer *user,
                               const struct NAME(rows) *of) {
    int64_t dim = model->dim, products = model->fm_in.in;
    const ROW *hidden = of->features;
    for (int64_t at = 0; at < model->hidden_layers; at++) {
        NAME(dense)(model->hidden + at, hidden, of->hidden[at % 2], 1);
        hidden = of->hidden[at % 2];
    }
    NAME(dense)(&model->direct, hidden, of->logits, 0);
    NAME(dense)(&model->pair, hidden, of->pair, 0);
    NAME(products)(model, user, of);
    for (int v = 0; v < VECTORS; v++) {
        VEC squares;
        NAME(centre)(of->products, products, &squares, v);
        VEC scale = NAME(rsqrt)(squares + model->products_epsilon);
        for (int64_t i = 0; i < products; i++) of->products[i][v] *= scale;
        NAME(centre)(of->pair, dim, &squares, v);
    }
    NAME(dense)(&model->fm_in, of->products, of->fm, 1);
    NAME(dense)(&model->fm_out, of->fm, of->tokens, 0);
    const ROW *shares = of->items + model->item_tokens * dim;
    struct layer head = {model->head, model->mix + model->tokens, dim, model->tasks};  /* zeros follow the mix */
    int64_t padded = (model->tasks + PANEL - 1) / PANEL * PANEL;
    for (int64_t token = 0; token < model->tokens; token++, head.weights += padded * dim) {
        ROW *x = of->tokens + token * dim;
        int64_t first = token * dim;
        for (int v = 0; v < VECTORS; v++) {
            VEC squares = {0};
            for (int64_t k = 0; k < dim; k++) {
                VEC value = shares[first + k][v] + linear[first + k] + model->mix[token] * of->pair[k][v];
                if (token < model->fm_tokens) value += x[k][v];
                x[k][v] = value;
                squares += value * value;
            }
            of->part[padded][v] = NAME(rsqrt)(squares * (1.0f / dim) + model->tokens_epsilon);
        }
        NAME(dense)(&head, x, of->part, 0);
        for (int64_t task = 0; task < model->tasks; task++)
            for (int v = 0; v < VECTORS; v++) of->logits[task][v] += of->part[task][v] * of->part[padded][v];
    }
}

/* The user's tokens (user_tokens, dim) in the panels of a layer from a token to its products with them. */
INLINE void NAME(pack)(const float *user, int64_t tokens, int64_t dim, float *panels) {
    for (int64_t j = 0; j < tokens; j++)
        for (int64_t k = 0; k < dim; k++) panels[(j / PANEL * dim + k) * PANEL + j % PANEL] = user[j * dim + k];
}

/* Asks for the rows of a pair, which lie anywhere in memory, a block before they are read. */
INLINE void NAME(prefetch)(const struct call *call, int64_t row, int64_t bytes) {
    if (row < 0 || row >= call->count) return;
    const char *item = (const char *)call->items + row * bytes;
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(item + at);
    if (!call->spectral) return;
    const char *vector = (const char *)call->spectral->values + row * call->spectral->width;
    for (int64_t at = 0; at < call->spectral->width; at += 64) __builtin_prefetch(vector + at);
    const uint8_t *tail = call->spectral->tail + row * call->spectral->tail_width;
    for (int64_t at = 0; at < call->spectral->tail_width; at += 64) __builtin_prefetch(tail + at);
    __builtin_prefetch(call->spectral->steps + row);
    __builtin_prefetch(call->spectral->popularity + row);
}

static TARGET int64_t NAME(score)(const struct model *model, const struct call *call) {
    int64_t dim = model->dim, width = (model->item_tokens + model->tokens) * dim;
    int64_t widest = model->features;
    for (int64_t at = 0; at < model->hidden_layers; at++)
        if (model->hidden[at].out > widest) widest = model->hidden[at].out;
    const int64_t slack = WIDE + PANEL, known = model->features - (call->spectral ? SPECTRAL : 0);
    int64_t sizes[] = {model->features, width, widest, widest, dim, model->fm_in.in, model->fm_in.out,
                       model->tokens * dim, model->tasks + 1, model->tasks};
    int64_t total = 0, count = sizeof sizes / sizeof *sizes;
    for (int64_t at = 0; at < count; at++) total += sizes[at] + slack;
    int64_t panels = (model->user_tokens + PANEL - 1) / PANEL * PANEL * (dim + 1);
    ROW *memory = aligned_alloc(64, (total * sizeof(ROW) + panels * sizeof(float) + 63) / 64 * 64);
    if (!memory) return -1;
    ROW *starts[sizeof sizes / sizeof *sizes], *next = memory;
    for (int64_t at = 0; at < count; next += sizes[at++] + slack) starts[at] = next;
    struct NAME(rows) of = {starts[0], starts[1], {starts[2], starts[3]}, starts[4], starts[5],
                            starts[6], starts[7], starts[8], starts[9]};
    float *packed = (float *)next;
    memset(packed, 0, panels * sizeof(float));
    NAME(pack)(call->user, model->user_tokens, dim, packed);
    struct layer user = {packed, packed + panels / (dim + 1) * dim, dim, model->user_tokens};
    for (int64_t first = 0; first < call->pairs; first += LANES) {
        const void *items[LANES], *features[LANES];
        int64_t rows[LANES];
        int64_t here = call->pairs - first < LANES ? call->pairs - first : LANES;
        for (int64_t lane = 0; lane < LANES; lane++) {
            int64_t at = first + (lane < here ? lane : 0);  /* lanes without a pair repeat the block's first */
            rows[lane] = call->rows[at];
            if (rows[lane] < 0 || rows[lane] >= call->count) {
                free(memory);
                return -2;
            }
            items[lane] = (const char *)call->items + rows[lane] * width * (call->half ? 2 : 4);
            features[lane] = call->features + at * known;
            if (at + LANES < call->pairs) NAME(prefetch)(call, call->rows[at + LANES], width * (call->half ? 2 : 4));
        }
        NAME(columns)(features, known, 0, of.features);
        if (call->spectral) NAME(spectral)(call->spectral, rows, of.features + known);
        NAME(columns)(items, width, call->half, of.items);
        NAME(block)(model, call->user + model->user_tokens * dim, &user, &of);
        for (int64_t task = 0; task < model->tasks; task++)
            for (int64_t lane = 0; lane < here; lane++)
                call->logits[(first + lane) * model->tasks + task] = ((const float *)of.logits[task])[lane];
    }
    free(memory);
    return 0;
}

#undef LANES
#undef VEC
#undef INTS
#undef ROW
#undef INLINE
