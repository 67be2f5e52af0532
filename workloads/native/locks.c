/* Threads that get stuck, each way beside a twin that does the same right. `locks NAME` or
 * `locks NAME-fixed`; `ready` on stdout once all of it stands. Of a circle a line for each thread:
 * `waits TID ADDRESS`, the lock that it waits for. Ends when its stdin does. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 64

static int fixed;
static pthread_mutex_t locks[4] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t all_hold;
static uint32_t word;
static int circle;
/* Two circles of two threads instead of one of four. */
static int pairs;

static void say(const char *what) {
    puts(what);
    fflush(stdout);
}

static void waits(const void *lock) {
    printf("waits %d %p\n", (int)gettid(), lock);
    fflush(stdout);
}

static void begin(void *(*run)(void *), long number) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, (void *)number) != 0) {
        perror("pthread_create");
        exit(1);
    }
    pthread_detach(thread);
}

/* abba2, abba3, abba2x2: each holds its lock and wants the next one's. */
static void *in_circle(void *number) {
    int mine = (int)(long)number, next = pairs ? mine ^ 1 : (mine + 1) % circle;
    if (fixed) {
        int first = mine < next ? mine : next, second = mine < next ? next : mine;
        for (;;) {
            pthread_mutex_lock(&locks[first]);
            pthread_mutex_lock(&locks[second]);
            usleep(500);
            pthread_mutex_unlock(&locks[second]);
            pthread_mutex_unlock(&locks[first]);
            usleep(500);
        }
    }
    pthread_mutex_lock(&locks[mine]);
    waits(&locks[next]);
    pthread_barrier_wait(&all_hold);
    pthread_mutex_lock(&locks[next]);
    return NULL;
}

/* Waits behind a circle without being of it. */
static void *bystander(void *unused) {
    (void)unused;
    pthread_mutex_lock(&locks[0]);
    pthread_mutex_unlock(&locks[0]);
    return NULL;
}

static void abba(int threads) {
    circle = threads;
    pthread_barrier_init(&all_hold, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++) begin(in_circle, i);
    if (fixed) return;
    pthread_barrier_wait(&all_hold);
    begin(bystander, 0);
}

/* self: takes twice what can be taken once. */
static void *twice(void *unused) {
    (void)unused;
    pthread_mutex_t *lock = fixed ? &recursive : &one;
    if (!fixed) {
        waits(lock);
        pthread_barrier_wait(&all_hold);
    }
    for (;;) {
        pthread_mutex_lock(lock);
        pthread_mutex_lock(lock);
        pthread_mutex_unlock(lock);
        pthread_mutex_unlock(lock);
        usleep(1000);
    }
}

/* rw: the writer wants the mutex of one that wants to read. */
static void *writer(void *unused) {
    (void)unused;
    do {
        pthread_rwlock_wrlock(&rw);
        if (!fixed) {
            waits(&one);
            pthread_barrier_wait(&all_hold);
        }
        pthread_mutex_lock(&one);
        usleep(500);
        pthread_mutex_unlock(&one);
        pthread_rwlock_unlock(&rw);
        usleep(500);
    } while (fixed);
    return NULL;
}

static void *reader(void *unused) {
    (void)unused;
    do {
        if (fixed) pthread_rwlock_rdlock(&rw);
        pthread_mutex_lock(&one);
        if (!fixed) {
            waits(&rw);
            pthread_barrier_wait(&all_hold);
            pthread_rwlock_rdlock(&rw);
        }
        usleep(500);
        pthread_mutex_unlock(&one);
        pthread_rwlock_unlock(&rw);
        usleep(500);
    } while (fixed);
    return NULL;
}

/* held: sleeps and holds a lock. */
static void *holder(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&one);
        if (!fixed) {
            pthread_barrier_wait(&all_hold);
            sleep(100000);
        }
        usleep(200);
        pthread_mutex_unlock(&one);
        usleep(200);
    }
}

static void *wants_lock(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&one);
        pthread_mutex_unlock(&one);
        usleep(1000);
    }
}

static void held(int waiters) {
    pthread_barrier_init(&all_hold, NULL, 2);
    begin(holder, 0);
    if (!fixed) pthread_barrier_wait(&all_hold);
    for (int i = 0; i < waiters; i++) begin(wants_lock, i);
}

/* cond: nobody signals. */
static void *wants_signal(void *unused) {
    (void)unused;
    pthread_mutex_lock(&one);
    for (;;) pthread_cond_wait(&cond, &one);
}

static void *signals(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&one);
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&one);
        usleep(20000);
    }
}

/* lost: the word changes, and nobody is woken. */
static void *sleeps_on_word(void *unused) {
    (void)unused;
    for (;;) {
        while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0) syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
        __atomic_store_n(&word, 0, __ATOMIC_SEQ_CST);
    }
}

static void *sets_word(void *unused) {
    (void)unused;
    for (;;) {
        usleep(200000);
        __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
        if (fixed) syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        while (!fixed) sleep(100000);
    }
}

/* leak: threads that never end, one after another. */
static void *short_lived(void *unused) {
    (void)unused;
    usleep(20000);
    return NULL;
}

static void *spawner(void *unused) {
    (void)unused;
    for (int i = 0; i < 100000; i++) {
        pthread_t thread;
        /* Of four that are born three end: what becomes of most is known. */
        int stays = !fixed && i % 4 == 0;
        if (pthread_create(&thread, NULL, stays ? wants_signal : short_lived, NULL) != 0) {
            perror("pthread_create");
            exit(1);
        }
        pthread_detach(thread);
        usleep(20000);
    }
    return NULL;
}

/* left: workers that nobody tells that it is over, and nobody joins. */
static void *worker(void *unused) {
    (void)unused;
    pthread_mutex_lock(&one);
    while (word == 0) pthread_cond_wait(&cond, &one);
    pthread_mutex_unlock(&one);
    return NULL;
}

static void left(void) {
    pthread_t list[3];
    for (int i = 0; i < 3; i++) pthread_create(&list[i], NULL, worker, NULL);
    if (!fixed) return;
    pthread_mutex_lock(&one);
    word = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&one);
    for (int i = 0; i < 3; i++) pthread_join(list[i], NULL);
}

/* churn: threads that end as soon as they were born. */
static void *brief(void *unused) {
    (void)unused;
    usleep(300);
    return NULL;
}

static void *churns(void *unused) {
    (void)unused;
    for (;;) {
        pthread_t list[4];
        for (int i = 0; i < 4; i++) pthread_create(&list[i], NULL, brief, NULL);
        for (int i = 0; i < 4; i++) pthread_join(list[i], NULL);
    }
}

/* many: a number of threads that sleep for a signal, for the cost of looking at them. */
static void many(int threads) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, wants_signal, NULL) != 0) {
            perror("pthread_create");
            exit(1);
        }
    }
}

/* Waits for the end of its parent; input is a wait that can end by itself. */
static void until_end_of_input(void) {
    char buffer[MOST];
    while (read(0, buffer, sizeof buffer) > 0) continue;
    _exit(0);
}

/* cond, join: the main thread itself waits for the threads, so that none is left to wake any. */
static void join_all(void *(*run)(void *), int threads) {
    pthread_t list[MOST];
    for (int i = 0; i < threads; i++) pthread_create(&list[i], NULL, run, NULL);
    if (fixed) begin(signals, 0);
    say("ready");
    for (int i = 0; i < threads; i++) pthread_join(list[i], NULL);
}

/* join: holds what the one it waits for wants. */
static void *wants_lock_of_main(void *unused) {
    (void)unused;
    waits(&one);
    pthread_barrier_wait(&all_hold);
    pthread_mutex_lock(&one);
    pthread_mutex_unlock(&one);
    while (fixed) usleep(1000);
    return NULL;
}

static void join(void) {
    pthread_t thread;
    pthread_barrier_init(&all_hold, NULL, 2);
    pthread_mutex_lock(&one);
    if (fixed) pthread_mutex_unlock(&one);
    pthread_create(&thread, NULL, wants_lock_of_main, NULL);
    pthread_barrier_wait(&all_hold);
    printf("waits %d (join)\n", (int)gettid());
    say("ready");
    pthread_join(thread, NULL);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: locks NAME[-fixed] [COUNT]\n");
        return 2;
    }
    char name[MOST] = {0};
    strncpy(name, argv[1], sizeof name - 1);
    char *twin = strstr(name, "-fixed");
    if (twin != NULL) {
        fixed = 1;
        *twin = 0;
    }
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&recursive, &attr);
    if (strcmp(name, "abba2") == 0) abba(2);
    else if (strcmp(name, "abba3") == 0) abba(3);
    else if (strcmp(name, "abba2x2") == 0) {
        pairs = 1;
        abba(4);
    }
    else if (strcmp(name, "self") == 0) {
        pthread_barrier_init(&all_hold, NULL, 2);
        begin(twice, 0);
        if (!fixed) pthread_barrier_wait(&all_hold);
    }
    else if (strcmp(name, "rw") == 0) {
        pthread_barrier_init(&all_hold, NULL, 3);
        begin(writer, 0);
        begin(reader, 0);
        if (!fixed) pthread_barrier_wait(&all_hold);
    }
    else if (strcmp(name, "held") == 0) held(1);
    else if (strcmp(name, "pool") == 0) held(6);
    else if (strcmp(name, "cond") == 0) join_all(wants_signal, 4);
    else if (strcmp(name, "join") == 0) join();
    else if (strcmp(name, "lost") == 0) {
        begin(sleeps_on_word, 0);
        begin(sets_word, 0);
    }
    else if (strcmp(name, "churn") == 0) {
        for (int i = 0; i < 8; i++) begin(churns, i);
    }
    else if (strcmp(name, "left") == 0) left();
    else if (strcmp(name, "leak") == 0) begin(spawner, 0);
    else if (strcmp(name, "many") == 0) many(argc > 2 ? atoi(argv[2]) : 5000);
    else {
        fprintf(stderr, "locks: no such scenario: %s\n", argv[1]);
        return 2;
    }
    say("ready");
    until_end_of_input();
}
