// The arithmetic of a training step, and of the evidence, for WebAssembly with SIMD. kernel_bytes.js holds what kernel.py
// makes of it, kernel.js calls it; learning.js has the same in JavaScript. A matrix is float32, row after row.

#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name))) void name
#define LANES 4
#define TILE 32 // columns of a matrix, whose sums fit into the registers
#define NEAR 64 // rows of a kernel

typedef v128_t vec;

__attribute__((import_module("math"), import_name("log"))) double log_of(double);

static inline vec at(const float *p) { return wasm_v128_load(p); }
static inline vec all(float x) { return wasm_f32x4_splat(x); }
static inline vec add(vec a, vec b) { return wasm_f32x4_add(a, b); }
static inline vec mul(vec a, vec b) { return wasm_f32x4_mul(a, b); }

// Rows of a matrix, weighed: row r takes those at place[k], share[k] of each, for the k from the end of the row before to
// end[r]. tile: room for TILE columns of the matrix.
struct mix { int *end, *place; float *share, *tile; };

// What is not 0 in each of `count` lines of `length` numbers: the lines `next` apart, the numbers in them `step`.
static void list_used(const struct mix *mix, const float *x, int count, int next, int length, int step) {
  int k = 0;
  for (int r = 0; r < count; r++) {
    for (int i = 0; i < length; i++) {
      float share = x[r * next + i * step];
      mix->place[k] = i, mix->share[k] = share;
      k += share != 0;
    }
    mix->end[r] = k;
  }
}

static inline void copy(float *to, const float *from, int count) {
  int j = 0;
  for (; j + LANES <= count; j += LANES) wasm_v128_store(to + j, at(from + j));
  for (; j < count; j++) to[j] = from[j];
}

// out (rows, n) = start (n) + the weighed rows of a matrix (m, n). A tile of all its rows stays near while it is used, and
// so do the sums.
static void add_rows(const struct mix *mix, const float *start, const float *matrix, int m, float *out, int rows, int n) {
  for (int left = 0; left < n; left += TILE) {
    int wide = n - left < TILE ? n - left : TILE;
    for (int i = 0; i < m; i++) copy(mix->tile + i * TILE, matrix + i * n + left, wide);
    float first[TILE] = {0}, last[TILE];
    if (start) copy(first, start + left, wide);
    for (int r = 0, k = 0; r < rows; r++) {
      vec sum[TILE / LANES];
      for (int q = 0; q < TILE / LANES; q++) sum[q] = at(first + LANES * q);
#pragma clang loop unroll_count(2)
      for (; k < mix->end[r]; k++) {
        const float *row = mix->tile + mix->place[k] * TILE;
        vec share = all(mix->share[k]);
        for (int q = 0; q < TILE / LANES; q++) sum[q] = add(sum[q], mul(share, at(row + LANES * q)));
      }
      float *to = wide == TILE ? out + r * n + left : last;
      for (int q = 0; q < TILE / LANES; q++) wasm_v128_store(to + LANES * q, sum[q]);
      if (to == last) copy(out + r * n + left, last, wide);
    }
  }
}

// out (rows, n) = x (rows, m) * kernel (m, n) + bias; with relu, what is below 0 becomes 0.
EXPORT(dense)(const float *x, const float *kernel, const float *bias, float *out, int rows, int m, int n, int relu,
              int *end, int *place, float *share, float *tile) {
  struct mix mix = {end, place, share, tile};
  list_used(&mix, x, rows, m, m, 1);
  add_rows(&mix, bias, kernel, m, out, rows, n);
  if (relu) for (int i = 0; i < rows * n; i++) out[i] = out[i] > 0 ? out[i] : 0;
}

// The gradients of a dense layer from its input x (rows, m) and the gradient g (rows, n) at its output.
EXPORT(gradient)(const float *x, const float *g, float *kernel, float *bias, int rows, int m, int n, int *end, int *place,
                 float *share, float *tile) {
  struct mix mix = {end, place, share, tile};
  list_used(&mix, x, m, 1, rows, m);
  add_rows(&mix, 0, g, rows, kernel, m, n);
  for (int j = 0; j < n; j++) bias[j] = 0;
  for (int r = 0; r < rows; r++) for (int j = 0; j < n; j++) bias[j] += g[r * n + j];
}

static inline double sum_of(vec s) {
  return (double)wasm_f32x4_extract_lane(s, 0) + wasm_f32x4_extract_lane(s, 1) + wasm_f32x4_extract_lane(s, 2) +
         wasm_f32x4_extract_lane(s, 3);
}

// out (rows, m) += g (rows, n) * kernel^T where x (rows, m) is above 0: back through a dense layer, and a relu before it.
// Some rows of the kernel stay near while all of g passes by; four of them are taken at a time.
EXPORT(back)(const float *g, const float *kernel, const float *x, float *out, int rows, int m, int n) {
  for (int top = 0; top < m; top += NEAR) {
    int end = top + NEAR < m ? top + NEAR : m;
    for (int r = 0; r < rows; r++) {
      int used[NEAR + LANES], count = 0;
      for (int i = top; i < end; i++) used[count] = i, count += x[r * m + i] > 0;
      for (int q = count; q < count + LANES; q++) used[q] = top; // its sums are not taken
      const float *own = g + r * n;
      for (int q = 0; q < count; q += LANES) {
        vec sum[LANES] = {all(0), all(0), all(0), all(0)};
        int j = 0;
#pragma clang loop unroll_count(2)
        for (; j + LANES <= n; j += LANES) {
          for (int k = 0; k < LANES; k++) sum[k] = add(sum[k], mul(at(own + j), at(kernel + used[q + k] * n + j)));
        }
        for (int k = 0; k < LANES && q + k < count; k++) {
          float rest = 0;
          for (int i = j; i < n; i++) rest += own[i] * kernel[used[q + k] * n + i];
          out[r * m + used[q + k]] += sum_of(sum[k]) + rest;
        }
      }
    }
  }
}

// Into out: each of n grey values x, n a multiple of 4, replaced by 1 with that probability, else by 0. random: four whole
// numbers, none of them 0, from which four sequences go on (xorshift; Marsaglia, 2003).
EXPORT(toss)(const float *x, float *out, vec *random, int n) {
  vec s = *random;
  for (int i = 0; i < n; i += LANES) {
    s = wasm_v128_xor(s, wasm_i32x4_shl(s, 13));
    s = wasm_v128_xor(s, wasm_u32x4_shr(s, 17));
    s = wasm_v128_xor(s, wasm_i32x4_shl(s, 5));
    vec share = mul(wasm_f32x4_convert_u32x4(wasm_u32x4_shr(s, 8)), all(0x1p-24f)); // from 0 to less than 1
    wasm_v128_store(out + i, wasm_v128_and(all(1), wasm_f32x4_lt(share, at(x + i))));
  }
  *random = s;
}

// One step of Nadam for n weights, n a multiple of 4; see Learner.apply.
EXPORT(nadam)(float *weights, const float *gradient, float *mean, float *square, int n, float rest1, float rest2,
              float ahead, float now, float correction, float epsilon) {
  for (int i = 0; i < n; i += LANES) {
    vec g = at(gradient + i), m = at(mean + i), v = at(square + i);
    m = add(m, mul(wasm_f32x4_sub(g, m), all(rest1)));
    v = add(v, mul(wasm_f32x4_sub(mul(g, g), v), all(rest2)));
    wasm_v128_store(mean + i, m);
    wasm_v128_store(square + i, v);
    vec step = add(mul(all(ahead), m), mul(all(now), g));
    vec size = add(wasm_f32x4_sqrt(mul(v, all(correction))), all(epsilon));
    wasm_v128_store(weights + i, wasm_f32x4_sub(at(weights + i), wasm_f32x4_div(step, size)));
  }
}

// exp(-t) for t from 0 to 80, to a few of the last bits (the polynomial is that of Cephes, S. Moshier).
static inline vec exp_minus(vec t) {
  vec x = wasm_f32x4_neg(t);
  vec whole = wasm_f32x4_nearest(mul(x, all(1.44269504f)));
  vec r = wasm_f32x4_sub(wasm_f32x4_sub(x, mul(whole, all(0.693359375f))), mul(whole, all(-2.12194440e-4f)));
  vec p = add(mul(all(1.9875691500e-4f), r), all(1.3981999507e-3f));
  p = add(mul(p, r), all(8.3334519073e-3f));
  p = add(mul(p, r), all(4.1665795894e-2f));
  p = add(mul(p, r), all(1.6666665459e-1f));
  p = add(mul(p, r), all(5.0000001201e-1f));
  p = add(add(mul(p, mul(r, r)), r), all(1));
  vec power = wasm_i32x4_shl(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(whole), wasm_i32x4_splat(127)), 23);
  return mul(p, power);
}

static inline double product_of(vec p) {
  return (double)wasm_f32x4_extract_lane(p, 0) * wasm_f32x4_extract_lane(p, 1) * wasm_f32x4_extract_lane(p, 2) *
         wasm_f32x4_extract_lane(p, 3);
}

// The reconstruction loss of n pixels x, n a multiple of 4, from their logits, in nats; error: scale * its gradient there.
__attribute__((export_name("losses"))) double losses(const float *logits, const float *x, float *error, int n,
                                                     float lowest, float highest, float scale) {
  double total = 0;
  for (int start = 0; start < n; start += 240) {
    int end = start + 240 < n ? start + 240 : n;
    vec sum = all(0), product = all(1);
    for (int i = start; i < end; i += LANES) {
      vec raw = at(logits + i), ink = at(x + i);
      vec t = wasm_f32x4_pmin(wasm_f32x4_pmax(raw, all(lowest)), all(highest));
      vec e = exp_minus(wasm_f32x4_abs(t)), above = wasm_f32x4_pmax(t, all(0));
      vec factor = add(all(1), e);
      product = mul(product, factor); // softplus(t) = max(t, 0) + log(1 + exp(-|t|)), and one logarithm for many factors
      sum = add(sum, wasm_f32x4_sub(above, mul(ink, t)));
      vec sigmoid = wasm_f32x4_div(wasm_v128_bitselect(all(1), e, wasm_f32x4_ge(t, all(0))), factor);
      vec slope = mul(wasm_f32x4_sub(sigmoid, ink), all(scale));
      wasm_v128_store(error + i, wasm_v128_and(slope, wasm_f32x4_eq(t, raw)));
    }
    total += sum_of(sum) + log_of(product_of(product));
  }
  return total;
}

// The sum of softplus over the logits at each of `size` columns of a row of the grid; see PlainArithmetic.partition. pixels is a
// multiple of 4. At column[k] of event k the logits gain level[k] * row unit[k] of the kernel, and from there on with each
// column rise[k] times it. logits, gain: room for as many numbers as there are pixels; gain is 0, logits are the biases.
EXPORT(partition)(const float *kernel, const int *column, const int *unit, const double *level, const double *rise,
                  int events, int size, int pixels, double *logits, double *gain, float *out, float lowest,
                  float highest) {
  int k = 0;
  for (int c = 0; c < size; c++) {
    if (c) for (int i = 0; i < pixels; i += 2) {
      wasm_v128_store(logits + i, wasm_f64x2_add(wasm_v128_load(logits + i), wasm_v128_load(gain + i)));
    }
    for (; k < events && column[k] == c; k++) {
      const float *row = kernel + unit[k] * pixels;
      vec by = wasm_f64x2_splat(level[k]), then = wasm_f64x2_splat(rise[k]);
      for (int i = 0; i < pixels; i += 2) {
        vec w = wasm_f64x2_promote_low_f32x4(wasm_v128_load64_zero(row + i));
        wasm_v128_store(logits + i, wasm_f64x2_add(wasm_v128_load(logits + i), wasm_f64x2_mul(by, w)));
        wasm_v128_store(gain + i, wasm_f64x2_add(wasm_v128_load(gain + i), wasm_f64x2_mul(then, w)));
      }
    }
    double total = 0;
    for (int start = 0; start < pixels; start += 240) {
      int end = start + 240 < pixels ? start + 240 : pixels;
      vec sum = all(0), product = all(1);
      for (int i = start; i < end; i += LANES) {
        vec low = wasm_f32x4_demote_f64x2_zero(wasm_v128_load(logits + i));
        vec high = wasm_f32x4_demote_f64x2_zero(wasm_v128_load(logits + i + 2));
        vec t = wasm_i32x4_shuffle(low, high, 0, 1, 4, 5);
        t = wasm_f32x4_pmin(wasm_f32x4_pmax(t, all(lowest)), all(highest));
        product = mul(product, add(all(1), exp_minus(wasm_f32x4_abs(t))));
        sum = add(sum, wasm_f32x4_pmax(t, all(0)));
      }
      total += sum_of(sum) + log_of(product_of(product));
    }
    out[c] = (float)total;
  }
}
