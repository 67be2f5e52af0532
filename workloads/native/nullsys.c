/* One thread that makes a system call which does nothing, again and again: what it costs then is what
 * somebody else's tracing costs a program that has nothing to do with it. Takes commands as pingpong
 * does, and says the same of its calls. */
#include "common.h"

static int64_t processor_time(void) {
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void call(long ms) {
	long rounds = 0;
	int64_t cpu = processor_time(), begin = monotonic(), now = begin;
	while (now - begin < ms * 1000000) {
		for (int i = 0; i < 1000; i++, rounds++)
			syscall(SYS_getppid);
		now = monotonic();
	}
	cpu = processor_time() - cpu;
	printf("done %ld %ld %ld\n", rounds, (long)(now - begin), (long)cpu);
}

int main(int count, char **arguments) {
	char line[64];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count > 1) {
		call(atol(arguments[1]));
		return 0;
	}
	puts("ready");
	while (command(line, sizeof line))
		if (strncmp(line, "go ", 3) == 0)
			call(atol(line + 3));
	return 0;
}
