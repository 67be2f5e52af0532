/* What the workloads share: the clock that loiter measures by, tids, futexes without a C library
 * between, and lines that are seen at once. */
#ifndef LOITER_COMMON_H
#define LOITER_COMMON_H

#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline int64_t monotonic(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int own_tid(void) { return (int)syscall(SYS_gettid); }

/* How often the calling thread has gone to sleep, as the kernel counts it. */
static inline long sleeps(void) {
	struct rusage usage;
	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

static inline long futex_wait(uint32_t *word, uint32_t value, const struct timespec *timeout) {
	return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

static inline long futex_wake(uint32_t *word, int count) {
	return syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Starts a thread or ends the program. */
static inline pthread_t started(void *(*run)(void *), void *argument) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, run, argument) != 0) {
		puts("FAILED no thread");
		exit(1);
	}
	return thread;
}

/* Reads a command; false when the input is closed. */
static inline int command(char *line, int size) {
	if (fgets(line, size, stdin) == NULL)
		return 0;
	line[strcspn(line, "\n")] = 0;
	return 1;
}

#endif
