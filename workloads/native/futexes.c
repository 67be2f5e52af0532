/* Waits of known number and length, on futex words of its own.
 *
 * Speaks lines. `ready` with the addresses of its words, then one of these commands, each answered
 * by one line when it is done:
 *
 *   run N        two threads make N waits in all, each on a word of its own: 499 of 500 as short as a
 *                timer allows, one of 500 some ms. Answers `ran waits=.. slept=.. short=.. long=..`:
 *                calls made, how often the kernel put the threads to sleep, calls by their length.
 *   hold MS      one thread waits MS on a word and is woken by another one. Answers `held tid=..
 *                waker=.. from=.. to=..`, by its own clock (CLOCK_MONOTONIC, ns).
 *   spawn N      N threads are made and joined. Answers `spawned N`.
 *   sleep MS     one thread sleeps. Answers `slept tid=.. from=.. to=..`.
 *   exit         ends at once, with code 7.
 */
#include "common.h"

static uint32_t words[3] __attribute__((aligned(64)));

struct part {
	uint32_t *word;
	long count;
	long slept, shorts, longs;
};

static void *wait_often(void *argument) {
	struct part *part = argument;
	long before = sleeps();
	for (long i = 0; i < part->count; i++) {
		struct timespec brief = {0, 1000};
		struct timespec lengthy = {0, 2000000};
		int is_long = i % 500 == 499;
		if (futex_wait(part->word, 0, is_long ? &lengthy : &brief) == 0 || errno != ETIMEDOUT) {
			puts("FAILED a wait that no one ends");
			exit(1);
		}
		if (is_long)
			part->longs++;
		else
			part->shorts++;
	}
	part->slept = sleeps() - before;
	return NULL;
}

static void run(long count) {
	struct part parts[2] = {{&words[0], count / 2, 0, 0, 0},
				{&words[1], count - count / 2, 0, 0, 0}};
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		threads[i] = started(wait_often, &parts[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("ran waits=%ld slept=%ld short=%ld long=%ld\n", parts[0].count + parts[1].count,
	       parts[0].slept + parts[1].slept, parts[0].shorts + parts[1].shorts,
	       parts[0].longs + parts[1].longs);
}

struct held {
	int64_t from, to;
	int tid;
};

static void *be_held(void *argument) {
	struct held *held = argument;
	held->tid = own_tid();
	held->from = monotonic();
	while (__atomic_load_n(&words[2], __ATOMIC_ACQUIRE) == 0)
		futex_wait(&words[2], 0, NULL);
	held->to = monotonic();
	return NULL;
}

static void pause_ms(long ms) {
	struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
	while (nanosleep(&pause, &pause) != 0)
		;
}

static void hold(long ms) {
	struct held held = {0, 0, 0};
	__atomic_store_n(&words[2], 0, __ATOMIC_RELEASE);
	pthread_t thread = started(be_held, &held);
	pause_ms(ms);
	__atomic_store_n(&words[2], 1, __ATOMIC_RELEASE);
	futex_wake(&words[2], 1);
	pthread_join(thread, NULL);
	printf("held tid=%d waker=%d from=%ld to=%ld\n", held.tid, own_tid(), (long)held.from,
	       (long)held.to);
}

static void *end(void *argument) { return argument; }

static void spawn(long count) {
	for (long i = 0; i < count; i++)
		pthread_join(started(end, NULL), NULL);
	printf("spawned %ld\n", count);
}

static long nap_ms;

static void *nap(void *argument) {
	struct held *held = argument;
	held->tid = own_tid();
	held->from = monotonic();
	pause_ms(nap_ms);
	held->to = monotonic();
	return NULL;
}

static void sleep_for(long ms) {
	struct held held = {0, 0, 0};
	nap_ms = ms;
	pthread_join(started(nap, &held), NULL);
	printf("slept tid=%d from=%ld to=%ld\n", held.tid, (long)held.from, (long)held.to);
}

int main(void) {
	char line[64];
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready %p %p %p\n", (void *)&words[0], (void *)&words[1], (void *)&words[2]);
	while (command(line, sizeof line)) {
		char *space = strchr(line, ' ');
		long number = space ? atol(space + 1) : 0;
		if (strncmp(line, "run ", 4) == 0)
			run(number);
		else if (strncmp(line, "hold ", 5) == 0)
			hold(number);
		else if (strncmp(line, "spawn ", 6) == 0)
			spawn(number);
		else if (strncmp(line, "sleep ", 6) == 0)
			sleep_for(number);
		else if (strcmp(line, "exit") == 0)
			_exit(7);
		else
			printf("FAILED unknown command %s\n", line);
	}
	return 0;
}
