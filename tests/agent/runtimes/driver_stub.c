/* A driver for a machine without a GPU: "device" memory is the host's, copies happen at once.
   It tests what needs no GPU: argument types, the balance of contexts, errors, the order of a capture. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_OF_MEMORY = 2, INVALID = 1, NO_CONTEXT = 201, ILLEGAL = 700, CAPTURE_INVALID = 901 };
int depth, retained, allocated, graphs, capturing, launched, lost; /* read by the test */
static int spot;
static int guard(void) { return lost ? ILLEGAL : depth ? 0 : NO_CONTEXT; }
int stub_reset(void) { return depth = retained = allocated = graphs = capturing = launched = lost = 0; }

int cuInit(unsigned flags) { return flags ? INVALID : 0; }
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
int cuGetErrorName(int code, const char **s) {
  *s = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : 0;
  return *s ? 0 : INVALID;
}
int cuGetErrorString(int code, const char **s) {
  *s = code == 2 ? "out of memory" : code == 700 ? "an illegal memory access was encountered" : 0;
  return *s ? 0 : INVALID;
}
int cuDeviceGet(int *d, int n) { *d = 100 + n; return n < 2 ? 0 : 101; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGetName(char *s, int room, int d) { strncpy(s, d == 100 ? "Stub A" : "Stub B", room); return 0; }
int cuDeviceGetAttribute(int *v, int which, int d) {
  *v = which == 75 ? 8 : which == 76 ? 7 : which == 16 ? 14 : which == 18 ? d == 101 : -1;
  return 0;
}
int cuDeviceGetPCIBusId(char *s, int room, int d) { strncpy(s, "0000:01:00.0", room); return d < 100; }
int cuDeviceGetUuid_v2(unsigned char *u, int d) { for (int i = 0; i < 16; i++) u[i] = i; return d < 100; }
int cuDevicePrimaryCtxRetain(void **c, int d) { retained++; *c = &spot; return d < 100; }
int cuDevicePrimaryCtxRelease_v2(int d) { retained--; return d < 100; }
int cuCtxPushCurrent_v2(void *c) { depth++; return c != &spot; }
int cuCtxPopCurrent_v2(void **c) { depth--; *c = &spot; return 0; }
int cuCtxGetCurrent(void **c) { *c = depth > 0 ? &spot : 0; return 0; }
int cuCtxSynchronize(void) { return guard(); }
int cuMemGetInfo_v2(size_t *f, size_t *t) { *f = 3ull << 32; *t = 5ull << 32; return guard(); }
int cuMemAlloc_v2(uint64_t *p, size_t n) {
  if (guard() || n == 0) return guard() ? guard() : INVALID;
  if (n > (1ull << 40)) return OUT_OF_MEMORY;
  allocated++;
  *p = (uint64_t)(uintptr_t)malloc(n);
  return 0;
}
int cuMemFree_v2(uint64_t p) { allocated--; free((void *)(uintptr_t)p); return 0; }
int cuMemHostAlloc(void **p, size_t n, unsigned flags) {
  allocated++;
  *p = calloc(1, n);
  return guard() ? guard() : flags || !n ? INVALID : 0;
}
int cuMemFreeHost(void *p) { allocated--; free(p); return 0; }
static int copy(uintptr_t to, uintptr_t from, size_t n, void *s) {
  if (!s || guard()) return INVALID;
  if (!to || !from) return lost = ILLEGAL;
  memcpy((void *)to, (void *)from, n);
  return 0;
}
int cuMemcpyHtoDAsync_v2(uint64_t d, void *h, size_t n, void *s) { return copy(d, (uintptr_t)h, n, s); }
int cuMemcpyDtoHAsync_v2(void *h, uint64_t d, size_t n, void *s) { return copy((uintptr_t)h, d, n, s); }
int cuMemcpyDtoDAsync_v2(uint64_t d, uint64_t from, size_t n, void *s) { return copy(d, from, n, s); }
int cuStreamCreate(void **s, unsigned flags) { *s = malloc(1); return guard() ? guard() : flags != 1; }
int cuStreamSynchronize(void *s) {
  if (capturing) return capturing = CAPTURE_INVALID; /* not allowed in a capture, which it breaks */
  return guard() ? guard() : !s;
}
int cuStreamDestroy_v2(void *s) { free(s); return 0; }
int cuEventCreate(void **e, unsigned flags) { *e = malloc(1); return guard() ? guard() : (int)flags; }
int cuEventRecord(void *e, void *s) { return guard() ? guard() : !e || !s; }
int cuEventQuery(void *e) { return e ? 600 : INVALID; }
int cuEventSynchronize(void *e) { return !e; }
int cuEventElapsedTime(float *ms, void *a, void *b) { *ms = 2.5f; return !a || !b; }
int cuEventDestroy_v2(void *e) { free(e); return 0; }
int cuStreamBeginCapture_v2(void *s, unsigned mode) { capturing = 1; return !s || mode != 1; }
int cuStreamEndCapture(void *s, void **g) {
  int was = capturing;
  capturing = 0;
  *g = 0;
  if (!s || was != 1) return CAPTURE_INVALID;
  graphs++;
  *g = malloc(1);
  return 0;
}
int cuGraphInstantiate(void **x, void *g, void **node, char *log, size_t n) { /* as CUDA 10.2 has it */
  graphs++;
  *x = malloc(1);
  return !g || !node || !log || n;
}
int cuGraphLaunch(void *x, void *s) { launched++; return !x || !s; }
int cuGraphExecDestroy(void *x) { graphs--; free(x); return 0; }
int cuGraphDestroy(void *g) { graphs--; free(g); return 0; }
