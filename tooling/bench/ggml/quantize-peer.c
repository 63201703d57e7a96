// What ggml and llama.cpp themselves take, by the libraries that node-llama-cpp ships: run beside our own benchmarks, in the same sitting.
//   quantize-peer types LIBRARIES VALUES ROWS COLUMNS   f32 values; prints type, importance (0 or 1), weights per second of one thread
//   quantize-peer model LIBRARIES IN OUT FTYPE THREADS  what llama-quantize does; prints nothing
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef size_t (*quantize_chunk)(int, const float *, void *, int64_t, int64_t, int64_t, const float *);

// llama_model_quantize_params begins with these two; the rest stays as the library fills it.
typedef struct {
  int32_t threads;
  int32_t ftype;
  char rest[504];
} params;
typedef params (*default_params)(void);
typedef uint32_t (*model_quantize)(const char *, const char *, const params *);
typedef void (*load_backends)(const char *);
typedef void (*log_callback)(int, const char *, void *);
typedef void (*log_set)(log_callback, void *);

static void quiet(int level, const char *text, void *data) {
  (void)data;
  if (level == 4) fputs(text, stderr);
}

static void *library(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  void *found = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (!found) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  return found;
}

static void *symbol(void *from, const char *name) {
  void *found = dlsym(from, name);
  if (!found) {
    fprintf(stderr, "%s is missing\n", name);
    exit(1);
  }
  return found;
}

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int types(char **argv) {
  quantize_chunk quantize = (quantize_chunk)symbol(library(argv[2], "libggml-base.so"), "ggml_quantize_chunk");
  const int64_t rows = atoll(argv[4]);
  const int64_t columns = atoll(argv[5]);
  const size_t count = (size_t)(rows * columns);
  float *x = malloc(count * 4);
  float *importance = malloc((size_t)columns * 4);
  void *out = malloc(count * 4);
  FILE *file = fopen(argv[3], "rb");
  if (!file || fread(x, 4, count, file) != count) return 1;
  fclose(file);
  for (int64_t i = 0; i < columns; i++) importance[i] = (float)(1 + (i * 7919) % 97) / 16.0f;
  static const int known[] = {1, 30, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 21, 18, 22, 17, 16, 19, 29, 34, 35, 39};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    // IQ2_XXS, IQ2_XS and IQ1_S abort without importance; types with a grid take long, and build it in the first round.
    const int type = known[i];
    const int grid = type == 29 || (type >= 16 && type <= 22 && type != 20);
    for (int weighted = type == 16 || type == 17 || type == 19; weighted < 2; weighted++) {
      double best = 1e9;
      for (int round = 0; round < (grid ? 3 : 5); round++) {
        const double start = cpu_seconds();
        quantize(known[i], x, out, 0, rows, columns, weighted ? importance : NULL);
        const double took = cpu_seconds() - start;
        if (took < best) best = took;
      }
      printf("%d %d %.0f\n", known[i], weighted, (double)count / best);
    }
  }
  return 0;
}

static int model(char **argv) {
  void *ggml = library(argv[2], "libggml.v0.5.0.so");
  void *llama = library(argv[2], "libllama.v0.5.0.so");
  ((log_set)symbol(llama, "llama_log_set"))(quiet, NULL);
  ((load_backends)symbol(ggml, "ggml_backend_load_all_from_path"))(argv[2]);
  params p = ((default_params)symbol(llama, "llama_model_quantize_default_params"))();
  p.ftype = atoi(argv[5]);
  p.threads = atoi(argv[6]);
  return (int)((model_quantize)symbol(llama, "llama_model_quantize"))(argv[3], argv[4], &p);
}

int main(int argc, char **argv) {
  if (argc == 6 && strcmp(argv[1], "types") == 0) return types(argv);
  if (argc == 7 && strcmp(argv[1], "model") == 0) return model(argv);
  fputs("usage: quantize-peer types|model ...\n", stderr);
  return 2;
}
