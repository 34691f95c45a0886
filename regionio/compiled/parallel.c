/* Threads for parts of a work. */
#include "parallel.h"

#ifdef _WIN32
void in_parallel(DoPart do_part, void *work, Py_ssize_t parts, int threads) {
    (void)threads;
    for (Py_ssize_t part = 0; part < parts; part++) do_part(work, part);
}

void add_to(int64_t *sum, int64_t value) { *sum += value; }
#else
#include <pthread.h>
#include <signal.h>

#define MOST_THREADS 256

/* Enough for what parts do; the C library keeps small stacks for the next threads. */
#define STACK_BYTES (512 * 1024)

typedef struct {
    DoPart do_part;
    void *work;
    Py_ssize_t parts, next;
} Shared;

static void *take_parts(void *argument) {
    Shared *shared = argument;
    Py_ssize_t part;
    while ((part = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED)) < shared->parts)
        shared->do_part(shared->work, part);
    return NULL;
}

static int start(pthread_t *helper, const pthread_attr_t *attributes, Shared *shared) {
    if (attributes && pthread_create(helper, attributes, take_parts, shared) == 0) return 0;
    return pthread_create(helper, NULL, take_parts, shared);
}

static int start_helpers(pthread_t *helpers, int count, Shared *shared) {
    pthread_attr_t memory, *attributes = pthread_attr_init(&memory) ? NULL : &memory;
    int started = 0;
    if (attributes) pthread_attr_setstacksize(attributes, STACK_BYTES);
    while (started < count && start(&helpers[started], attributes, shared) == 0) started++;
    if (attributes) pthread_attr_destroy(attributes);
    return started;
}

void in_parallel(DoPart do_part, void *work, Py_ssize_t parts, int threads) {
    Shared shared = {do_part, work, parts, 0};
    pthread_t helpers[MOST_THREADS];
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    sigset_t every, before;
    int started = 0, wanted = threads < MOST_THREADS ? threads : MOST_THREADS;
    if (wanted > parts) wanted = (int)parts;
    if (wanted > 1) {
        sigfillset(&every); /* signals are for Python's threads, but what a thread itself causes */
        for (size_t i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&every, own[i]);
        pthread_sigmask(SIG_SETMASK, &every, &before);
        started = start_helpers(helpers, wanted - 1, &shared);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    take_parts(&shared); /* this thread does what others don't, all if none could be started */
    for (int i = 0; i < started; i++) pthread_join(helpers[i], NULL);
}

void add_to(int64_t *sum, int64_t value) { __atomic_fetch_add(sum, value, __ATOMIC_RELAXED); }
#endif
