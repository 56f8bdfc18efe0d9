/* A faulty plugin library: once the file TRIGGER exists, it writes to an invalid address of the GPU.

   The test builds it with cc. It looks up CUDA's driver functions by name, since NVIDIA's headers may be missing. */
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

static const char *PTX = ".version 6.3\n.target sm_50\n.address_size 64\n"
                         ".visible .entry wild() {\n.reg .b64 %at;\n.reg .b32 %v;\nmov.u64 %at, 0x7ead00000000;\n"
                         "mov.u32 %v, 1;\nst.global.u32 [%at], %v;\nret;\n}\n";

static void *strike(void *none) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW), *context, *module, *function;
  int (*retain)(void **, int) = (int (*)(void **, int))dlsym(driver, "cuDevicePrimaryCtxRetain");
  int (*current)(void *) = (int (*)(void *))dlsym(driver, "cuCtxSetCurrent");
  int (*load)(void **, const void *) = (int (*)(void **, const void *))dlsym(driver, "cuModuleLoadData");
  int (*get)(void **, void *, const char *) =
      (int (*)(void **, void *, const char *))dlsym(driver, "cuModuleGetFunction");
  int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **) =
      (int (*)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **,
               void **))dlsym(driver, "cuLaunchKernel");
  while (access(TRIGGER, F_OK) != 0) usleep(1000);
  if (retain(&context, 0) == 0 && current(context) == 0 && load(&module, PTX) == 0 && get(&function, module, "wild") == 0)
    launch(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
  return none;
}

__attribute__((constructor)) static void start_thread(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, strike, NULL);
}
