/* Two threads that wake each other in turn through one futex word each: the dearest thing one can
 * do to a tracer of waits. With an argument, ends after so many ms; says `done ROUNDS NS CPU`
 * at the end: round trips, how long they took, processor time of the process.
 *
 * Without one, waits for the command `go MS` each time. */
#include "common.h"

static uint32_t turn __attribute__((aligned(64)));
static int stop;

static void wait_for(uint32_t mine, uint32_t other) {
	while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != mine && !__atomic_load_n(&stop, __ATOMIC_RELAXED))
		futex_wait(&turn, other, NULL);
}

static void hand_to(uint32_t other) {
	__atomic_store_n(&turn, other, __ATOMIC_RELEASE);
	futex_wake(&turn, 1);
}

static void *answer(void *argument) {
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		wait_for(1, 0);
		hand_to(0);
	}
	return argument;
}

static int64_t processor_time(void) {
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void play(long ms) {
	stop = 0;
	turn = 0;
	pthread_t thread = started(answer, NULL);
	long rounds = 0;
	int64_t cpu = processor_time(), begin = monotonic(), now = begin;
	while (now - begin < ms * 1000000) {
		for (int i = 0; i < 100; i++, rounds++) {
			hand_to(1);
			wait_for(0, 1);
		}
		now = monotonic();
	}
	cpu = processor_time() - cpu;
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	hand_to(1);
	pthread_join(thread, NULL);
	printf("done %ld %ld %ld\n", rounds, (long)(now - begin), (long)cpu);
}

int main(int count, char **arguments) {
	char line[64];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count > 1) {
		play(atol(arguments[1]));
		return 0;
	}
	puts("ready");
	while (command(line, sizeof line))
		if (strncmp(line, "go ", 3) == 0)
			play(atol(line + 3));
	return 0;
}
