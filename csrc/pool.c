/* The worker threads.
 *
 * One pool for the process. Workers are started when first asked for and then wait, awake for a moment and asleep after it.
 * A call publishes a job, takes part in it, and closes it; tasks are handed out by an atomic counter, so a worker that wakes
 * late, or not at all, costs nothing but its help. Which thread runs a task never matters to a result.
 *
 * A forked child has only the thread that forked: it starts over with an empty pool.
 */
#define _GNU_SOURCE
#include "fallline.h"
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

enum {
    MAX_WORKERS = 256,
    SPINS = 2000,           /* looks for a new job before sleeping: some 50 us, the gap between two passes or two small steps */
    STACK_SIZE = 512 * 1024 /* a task keeps a few blocks on its stack */
};

typedef struct {
    void (*task)(void *context, size_t i);
    void *context;
    size_t n_tasks;
    atomic_size_t next;   /* the first task nobody has taken */
    size_t helpers;       /* workers that may still join; 0 when the job is closed */
    size_t at_work;       /* workers that joined and have not left */
} fl_job;

static struct {
    pthread_mutex_t mutex;     /* guards all but `published`, `job.next` and `n_workers`, which belongs to who has the pool */
    pthread_cond_t wake, left; /* a job was published; the last worker left it */
    atomic_uint published;     /* counts jobs */
    size_t n_workers, n_asleep;
    fl_job job;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .left = PTHREAD_COND_INITIALIZER};

static atomic_flag in_use = ATOMIC_FLAG_INIT; /* one call at a time has the pool */
static atomic_uint fork_generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static void run_tasks(fl_job *job)
{
    for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->n_tasks;)
        job->task(job->context, i);
}

static void wait_for_job(unsigned seen)
{
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load(&pool.published) != seen)
            return;
        relax();
    }
    pthread_mutex_lock(&pool.mutex);
    pool.n_asleep++;
    while (atomic_load(&pool.published) == seen)
        pthread_cond_wait(&pool.wake, &pool.mutex);
    pool.n_asleep--;
    pthread_mutex_unlock(&pool.mutex);
}

static void *work(void *unused)
{
    (void)unused;
    for (unsigned seen = 0;;) {
        wait_for_job(seen);
        pthread_mutex_lock(&pool.mutex);
        seen = atomic_load(&pool.published);
        if (pool.job.helpers == 0) {
            pthread_mutex_unlock(&pool.mutex);
            continue;
        }
        pool.job.helpers--;
        pool.job.at_work++;
        pthread_mutex_unlock(&pool.mutex);

        run_tasks(&pool.job);

        pthread_mutex_lock(&pool.mutex);
        if (--pool.job.at_work == 0)
            pthread_cond_signal(&pool.left);
        pthread_mutex_unlock(&pool.mutex);
    }
    return NULL;
}

static void start_over_in_child(void)
{
    const pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    const pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pool.mutex = mutex;
    pool.wake = pool.left = condition;
    atomic_store(&pool.published, 0);
    pool.n_workers = pool.n_asleep = 0;
    pool.job.helpers = pool.job.at_work = 0;
    atomic_flag_clear(&in_use);
    atomic_fetch_add(&fork_generation, 1);
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, start_over_in_child); }

unsigned fl_fork_generation(void)
{
    pthread_once(&once, watch_forks);
    return atomic_load(&fork_generation);
}

/* As many workers as wanted, or as can be had. */
static void hire(size_t wanted)
{
    if (pool.n_workers >= wanted)
        return;
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all); /* signals belong to the interpreter's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    while (pool.n_workers < wanted && pthread_create(&thread, &attributes, work, NULL) == 0)
        pool.n_workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

static void publish(size_t helpers, size_t n_tasks, void (*task)(void *context, size_t i), void *context)
{
    pthread_mutex_lock(&pool.mutex);
    pool.job.task = task;
    pool.job.context = context;
    pool.job.n_tasks = n_tasks;
    pool.job.helpers = helpers;
    atomic_store(&pool.job.next, 0);
    atomic_fetch_add(&pool.published, 1);
    if (pool.n_asleep > 0)
        pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.mutex);
}

static void close_job(void)
{
    pthread_mutex_lock(&pool.mutex);
    pool.job.helpers = 0;
    for (int spin = 0; pool.job.at_work > 0 && spin < SPINS; spin++) {
        pthread_mutex_unlock(&pool.mutex);
        relax();
        pthread_mutex_lock(&pool.mutex);
    }
    while (pool.job.at_work > 0)
        pthread_cond_wait(&pool.left, &pool.mutex);
    pthread_mutex_unlock(&pool.mutex);
}

void fl_pool_run(size_t threads, size_t n_tasks, void (*task)(void *context, size_t i), void *context)
{
    size_t helpers = threads < n_tasks ? threads : n_tasks;
    helpers = helpers > MAX_WORKERS ? MAX_WORKERS : helpers > 0 ? helpers - 1 : 0;
    if (helpers == 0 || atomic_flag_test_and_set(&in_use)) {
        for (size_t i = 0; i < n_tasks; i++)
            task(context, i);
        return;
    }
    fl_fork_generation();
    hire(helpers);
    publish(helpers, n_tasks, task, context);
    run_tasks(&pool.job);
    close_job();
    atomic_flag_clear(&in_use);
}
