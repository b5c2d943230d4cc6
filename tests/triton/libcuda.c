// A stand-in for libcuda.so.1 on a machine without a GPU: as strict as the driver's documentation says, about all that `runtime.driver`
// calls. It reads what a cubin says of its functions (parameters, threads), checks each launch against that, and hands the launch to a
// listener. Its functions are those that CUDA's header declares, which Triton brings along. Refuses to run machine code.

#include <cuda.h>
#include <elf.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KPARAM_INFO = 0x17, REQNTID = 0x10, CUDA_MACHINE = 190, PLAIN = 48 << 10, MOST = 227 << 10, DEPTH = 16, MANY = 64 };

typedef struct { char *image; size_t size; } Module;
typedef struct { char name[256]; unsigned params, size[MANY], threads; int shared; } Function;
typedef void (*Listener)(const char *name, unsigned programs, unsigned threads, unsigned shared, void *stream, unsigned count, const uint64_t *values);

static int begun, retained, capturing;
static char place;
static const CUcontext context = (CUcontext)&place;
static __thread CUcontext stack[DEPTH];
static __thread int depth;
static Listener listener;
static const char *failing = "";
static CUresult code;

void stand_listen(Listener f) { listener = f; }
void stand_fail(const char *call, int with) { failing = strdup(call), code = with; }
void stand_capture(int on) { capturing = on; }  // launches are kept, not made
int stand_depth(void) { return depth; }
int stand_retained(void) { return retained; }

#define CALL(name) if (!strcmp(failing, name)) return code

CUresult cuInit(unsigned flags) { CALL("cuInit"); begun = 1; return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS; }

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  CALL("cuDeviceGet");
  if (!begun) return CUDA_ERROR_NOT_INITIALIZED;
  *device = ordinal;
  return ordinal ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *ctx, CUdevice device) {
  CALL("cuDevicePrimaryCtxRetain");
  *ctx = context, retained++;
  return device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext ctx) {
  if (ctx != context || depth == DEPTH) return CUDA_ERROR_INVALID_CONTEXT;
  stack[depth++] = ctx;
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext *ctx) {
  if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
  *ctx = stack[--depth];
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  CALL("cuModuleLoadData");
  if (capturing) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
  const Elf64_Ehdr *head = (const void *)image;
  if (memcmp(image, ELFMAG, 4) || head->e_machine != CUDA_MACHINE) return CUDA_ERROR_INVALID_IMAGE;
  size_t size = head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
  const Elf64_Shdr *s = (const void *)((const char *)image + head->e_shoff);
  for (int i = 0; i < head->e_shnum; i++)
    if (s[i].sh_type != SHT_NOBITS && s[i].sh_offset + s[i].sh_size > size) size = s[i].sh_offset + s[i].sh_size;
  Module *m = malloc(sizeof *m);
  m->image = memcpy(malloc(size), image, size), m->size = size;
  *module = (CUmodule)m;
  return CUDA_SUCCESS;
}

static const Elf64_Shdr *section(const Module *m, const char *start, const char *name) {
  const Elf64_Ehdr *head = (const void *)m->image;
  const Elf64_Shdr *s = (const void *)(m->image + head->e_shoff);
  const char *names = m->image + s[head->e_shstrndx].sh_offset;
  char wanted[300];
  snprintf(wanted, sizeof wanted, "%s%s", start, name);
  for (int i = 0; i < head->e_shnum; i++)
    if (!strcmp(names + s[i].sh_name, wanted)) return &s[i];
  return NULL;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  CALL("cuModuleGetFunction");
  if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
  const Module *m = (const void *)module;
  const Elf64_Shdr *info = section(m, ".nv.info.", name);
  if (!section(m, ".text.", name) || !info) return CUDA_ERROR_NOT_FOUND;
  Function *f = calloc(1, sizeof *f);
  snprintf(f->name, sizeof f->name, "%s", name);
  f->threads = 1024, f->shared = PLAIN;
  const char *at = m->image + info->sh_offset, *end = at + info->sh_size;
  while (at < end) {  // form, kind, and a size of what follows or a value
    uint8_t form = at[0], kind = at[1];
    uint16_t size = *(const uint16_t *)(at + 2);
    const char *body = at + 4;
    if (kind == KPARAM_INFO) {  // index, ordinal, offset, and the size from bit 18 on
      unsigned ordinal = *(const uint16_t *)(body + 4);
      if (ordinal >= MANY) return CUDA_ERROR_INVALID_IMAGE;
      f->size[ordinal] = *(const uint32_t *)(body + 8) >> 18;
      if (ordinal + 1 > f->params) f->params = ordinal + 1;
    }
    if (kind == REQNTID) f->threads = *(const uint32_t *)body;
    at = body + (form == 4 ? size : 0);
  }
  *function = (CUfunction)f;
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  CALL("cuFuncGetAttribute");
  if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
  *value = ((Function *)function)->threads;
  return attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  CALL("cuFuncSetAttribute");
  if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || value > MOST) return CUDA_ERROR_INVALID_VALUE;
  ((Function *)function)->shared = value;
  return CUDA_SUCCESS;
}

CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) {
  return depth && function && config == CU_FUNC_CACHE_PREFER_SHARED ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned t, unsigned u,
                        unsigned shared, CUstream stream, void **params, void **extra) {
  CALL("cuLaunchKernel");
  if (!depth) return CUDA_ERROR_INVALID_CONTEXT;
  const Function *f = (const void *)function;
  if (!f) return CUDA_ERROR_INVALID_HANDLE;
  if (!x || y != 1 || z != 1 || t != 1 || u != 1 || !params || extra) return CUDA_ERROR_INVALID_VALUE;
  if (threads != f->threads) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  if ((int)shared > f->shared || f->params < 2) return CUDA_ERROR_INVALID_VALUE;
  uint64_t values[MANY];
  for (unsigned i = 0; i < f->params; i++) {
    if (f->size[i] != sizeof values[i]) return CUDA_ERROR_INVALID_VALUE;
    memcpy(&values[i], params[i], sizeof values[i]);
  }
  if (values[f->params - 1] || values[f->params - 2]) return CUDA_ERROR_INVALID_VALUE;  // scratch that nobody asked for
  if (listener && !capturing) listener(f->name, x, threads, shared, (void *)stream, f->params - 2, values);
  return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char **text) {
  *text = error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == CUDA_ERROR_INVALID_VALUE ? "CUDA_ERROR_INVALID_VALUE"
        : error == CUDA_ERROR_INVALID_IMAGE ? "CUDA_ERROR_INVALID_IMAGE" : NULL;
  return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
  *text = "as the stand-in was told";
  return error == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
