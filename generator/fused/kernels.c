// Normalisation and activations of bfloat16 pictures, forwards and backwards, each in one or two passes over memory.
//
// torch 2.13 takes several passes for each of them on a CPU, and its group norm is 10 to 70 times slower backwards
// where channels come last, which is the layout that convolutions are fastest in. Sums are made in float32 over
// pieces of a fixed length and put together in order in float64: the result is the same however many threads there are.
//
// Group normalisation: Wu and He 2018, arXiv:1803.08494. Swish: Ramachandran et al. 2017, arXiv:1710.05941.

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint16_t bf16;

static inline float wide(bf16 x) {
    union { uint32_t bits; float value; } u;
    u.bits = (uint32_t)x << 16;
    return u.value;
}

static inline bf16 narrow(float x) {  // to the nearest, ties to even
    union { float value; uint32_t bits; } u;
    u.value = x;
    uint32_t rounded = (u.bits + 0x7fffu + ((u.bits >> 16) & 1u)) >> 16;
    return (bf16)((u.bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

static inline float sigmoid(float x) {  // within 2e-7
    float t = x * -1.44269504f;
    t = t < -126.0f ? -126.0f : t > 126.0f ? 126.0f : t;
    float whole = rintf(t), f = t - whole;
    float p = 1.53536e-4f;
    p = p * f + 1.33988e-3f;
    p = p * f + 9.61843e-3f;
    p = p * f + 5.55033e-2f;
    p = p * f + 2.40226e-1f;
    p = p * f + 6.93147e-1f;
    p = p * f + 1.0f;
    union { uint32_t bits; float value; } u;
    u.bits = (uint32_t)((int32_t)whole + 127) << 23;
    return 1.0f / (1.0f + p * u.value);
}

#define ROWS 128  // of a piece

// x (n, rows, c) -> y of the same shape, and mean and 1 / deviation (n, groups). swish: whether it follows.
// Returns 0, or 1 where there was no memory.
int group_norm_forward(const bf16 *x, const float *gamma, const float *beta, bf16 *y, float *mean, float *rstd,
                       int64_t n, int64_t rows, int64_t c, int64_t groups, float eps, int swish) {
    if (n == 0 || rows == 0) return 0;
    int64_t pieces = (rows + ROWS - 1) / ROWS, per = c / groups;
    float *sums = malloc(sizeof(float) * n * pieces * 2 * c);
    float *scales = malloc(sizeof(float) * n * 2 * c);
    if (!sums || !scales) {
        free(sums), free(scales);
        return 1;
    }
#pragma omp parallel for schedule(static)
    for (int64_t piece = 0; piece < n * pieces; piece++) {
        int64_t b = piece / pieces, first = piece % pieces * ROWS;
        int64_t last = first + ROWS < rows ? first + ROWS : rows;
        float *sum = sums + piece * 2 * c, *square = sum + c;
        memset(sum, 0, sizeof(float) * 2 * c);
        for (int64_t r = first; r < last; r++) {
            const bf16 *row = x + (b * rows + r) * c;
#pragma omp simd
            for (int64_t k = 0; k < c; k++) {
                float v = wide(row[k]);
                sum[k] += v;
                square[k] += v * v;
            }
        }
    }
    for (int64_t b = 0; b < n; b++) {
        for (int64_t g = 0; g < groups; g++) {
            double total = 0, squares = 0;
            for (int64_t p = 0; p < pieces; p++) {
                const float *sum = sums + (b * pieces + p) * 2 * c + g * per;
                for (int64_t k = 0; k < per; k++) {
                    total += sum[k];
                    squares += sum[c + k];
                }
            }
            double count = (double)rows * per, m = total / count, variance = squares / count - m * m;
            float inverse = (float)(1.0 / sqrt((variance > 0 ? variance : 0) + eps));
            mean[b * groups + g] = (float)m;
            rstd[b * groups + g] = inverse;
            for (int64_t k = g * per; k < (g + 1) * per; k++) {
                scales[b * 2 * c + k] = inverse * gamma[k];
                scales[b * 2 * c + c + k] = beta[k] - (float)m * inverse * gamma[k];
            }
        }
    }
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < n * rows; r++) {
        const float *scale = scales + r / rows * 2 * c, *shift = scale + c;
        const bf16 *row = x + r * c;
        bf16 *out = y + r * c;
        if (swish) {
#pragma omp simd
            for (int64_t k = 0; k < c; k++) {
                float u = wide(row[k]) * scale[k] + shift[k];
                out[k] = narrow(u * sigmoid(u));
            }
        } else {
#pragma omp simd
            for (int64_t k = 0; k < c; k++) out[k] = narrow(wide(row[k]) * scale[k] + shift[k]);
        }
    }
    free(sums), free(scales);
    return 0;
}

// The gradient dx of x, of the same shape, from that of y, and those of gamma and beta (c each).
// Returns 0, or 1 where there was no memory.
int group_norm_backward(const bf16 *x, const bf16 *dy, const float *gamma, const float *beta, const float *mean,
                        const float *rstd, bf16 *dx, float *dgamma, float *dbeta, int64_t n, int64_t rows, int64_t c,
                        int64_t groups, int swish) {
    memset(dgamma, 0, sizeof(float) * c);
    memset(dbeta, 0, sizeof(float) * c);
    if (n == 0 || rows == 0) return 0;
    int64_t pieces = (rows + ROWS - 1) / ROWS, per = c / groups;
    float *sums = malloc(sizeof(float) * n * pieces * 2 * c);
    float *scales = malloc(sizeof(float) * n * 4 * c);
    if (!sums || !scales) {
        free(sums), free(scales);
        return 1;
    }
    for (int64_t b = 0; b < n; b++)
        for (int64_t k = 0; k < c; k++) {
            float m = mean[b * groups + k / per], inverse = rstd[b * groups + k / per];
            scales[b * 4 * c + k] = inverse * gamma[k];
            scales[b * 4 * c + c + k] = beta[k] - m * inverse * gamma[k];
        }
#pragma omp parallel for schedule(static)
    for (int64_t piece = 0; piece < n * pieces; piece++) {
        int64_t b = piece / pieces, first = piece % pieces * ROWS;
        int64_t last = first + ROWS < rows ? first + ROWS : rows;
        const float *scale = scales + b * 4 * c, *shift = scale + c;
        float *sum = sums + piece * 2 * c, *product = sum + c;
        memset(sum, 0, sizeof(float) * 2 * c);
        for (int64_t r = first; r < last; r++) {
            const bf16 *row = x + (b * rows + r) * c, *gradient = dy + (b * rows + r) * c;
#pragma omp simd
            for (int64_t k = 0; k < c; k++) {
                float v = wide(row[k]), d = wide(gradient[k]);
                if (swish) {
                    float u = v * scale[k] + shift[k], s = sigmoid(u);
                    d *= s * (1.0f + u * (1.0f - s));
                }
                sum[k] += d;
                product[k] += d * v;
            }
        }
    }
    for (int64_t b = 0; b < n; b++)
        for (int64_t g = 0; g < groups; g++) {
            double a = 0, p = 0, m = mean[b * groups + g], inverse = rstd[b * groups + g], count = (double)rows * per;
            for (int64_t piece = b * pieces; piece < (b + 1) * pieces; piece++)
                for (int64_t k = g * per; k < (g + 1) * per; k++) {
                    a += (double)gamma[k] * sums[piece * 2 * c + k];
                    p += (double)gamma[k] * sums[piece * 2 * c + c + k];
                }
            double slope = -inverse * inverse * inverse * (p - m * a) / count;
            for (int64_t k = g * per; k < (g + 1) * per; k++) {
                scales[b * 4 * c + 2 * c + k] = (float)slope;
                scales[b * 4 * c + 3 * c + k] = (float)(-inverse * a / count - slope * m);
                double sum = 0, product = 0;
                for (int64_t piece = b * pieces; piece < (b + 1) * pieces; piece++) {
                    sum += sums[piece * 2 * c + k];
                    product += sums[piece * 2 * c + c + k];
                }
                dbeta[k] += (float)sum;
                dgamma[k] += (float)((product - m * sum) * inverse);
            }
        }
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < n * rows; r++) {
        const float *scale = scales + r / rows * 4 * c, *shift = scale + c, *slope = shift + c, *constant = slope + c;
        const bf16 *row = x + r * c, *gradient = dy + r * c;
        bf16 *out = dx + r * c;
#pragma omp simd
        for (int64_t k = 0; k < c; k++) {
            float v = wide(row[k]), d = wide(gradient[k]);
            if (swish) {
                float u = v * scale[k] + shift[k], s = sigmoid(u);
                d *= s * (1.0f + u * (1.0f - s));
            }
            out[k] = narrow(d * scale[k] + v * slope[k] + constant[k]);
        }
    }
    free(sums), free(scales);
    return 0;
}

// y = x * sigmoid(1.702 x), CLIP's GELU, of `count` numbers. Returns 0.
int quick_gelu_forward(const bf16 *x, bf16 *y, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t k = 0; k < count; k++) {
        float v = wide(x[k]);
        y[k] = narrow(v * sigmoid(1.702f * v));
    }
    return 0;
}

int quick_gelu_backward(const bf16 *x, const bf16 *dy, bf16 *dx, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t k = 0; k < count; k++) {
        float v = wide(x[k]), s = sigmoid(1.702f * v);
        dx[k] = narrow(wide(dy[k]) * s * (1.0f + 1.702f * v * (1.0f - s)));
    }
    return 0;
}
