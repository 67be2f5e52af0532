/* System calls that end in each of their ways, a known number of times.
 *
 * Speaks lines. `ready` with the address of its futex word, then one of these commands, each done by a
 * thread of its own and answered by one line, `did tid=.. count=..`:
 *
 *   timeouts N     N futex waits that time out after a millisecond.
 *   changed N      N futex waits for a value that the word does not have.
 *   interrupted N  N futex waits that a signal ends.
 *   woken MS       a futex wait that the main thread ends after MS. Answers `waker=..`, too.
 *   polls N        N polls that do not wait.
 *   epolls N       N waits in an epoll that time out after a millisecond. Answers `epoll=..`, too.
 */
#include "common.h"
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

static uint32_t word __attribute__((aligned(64)));
static int done;

struct task {
	const char *what;
	long count;
	int tid, epoll;
};

static void expect(int holds) {
	if (!holds) {
		printf("FAILED a call ended otherwise: %s\n", strerror(errno));
		exit(1);
	}
}

static void once(struct task *task) {
	struct timespec brief = {0, 1000000};
	struct epoll_event event;
	if (strcmp(task->what, "timeouts") == 0)
		expect(futex_wait(&word, 0, &brief) == -1 && errno == ETIMEDOUT);
	else if (strcmp(task->what, "changed") == 0)
		expect(futex_wait(&word, 1, NULL) == -1 && errno == EAGAIN);
	else if (strcmp(task->what, "interrupted") == 0)
		expect(futex_wait(&word, 0, NULL) == -1 && errno == EINTR);
	else if (strcmp(task->what, "woken") == 0)
		expect(futex_wait(&word, 0, NULL) == 0);
	else if (strcmp(task->what, "polls") == 0)
		expect(poll(NULL, 0, 0) == 0);
	else if (strcmp(task->what, "epolls") == 0)
		expect(epoll_wait(task->epoll, &event, 1, 1) == 0);
}

static void *work(void *argument) {
	struct task *task = argument;
	task->tid = own_tid();
	for (long i = 0; i < task->count; i++)
		once(task);
	__atomic_store_n(&done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void ignore(int signal) { (void)signal; }

static void pause_ms(long ms) {
	struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&pause, NULL);
}

static void run(const char *what, long number) {
	int woken = strcmp(what, "woken") == 0;
	struct task task = {what, woken ? 1 : number, 0, epoll_create1(0)};
	__atomic_store_n(&done, 0, __ATOMIC_RELEASE);
	pthread_t thread = started(work, &task);
	if (woken) {
		pause_ms(number);
		while (futex_wake(&word, 1) == 0)
			pause_ms(1);
	}
	while (strcmp(what, "interrupted") == 0 && !__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		pause_ms(5);
		pthread_kill(thread, SIGUSR1);
	}
	pthread_join(thread, NULL);
	printf("did tid=%d count=%ld waker=%d epoll=%d\n", task.tid, task.count, own_tid(),
	       task.epoll);
	close(task.epoll);
}

int main(void) {
	char line[64];
	struct sigaction action = {.sa_handler = ignore};
	sigaction(SIGUSR1, &action, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready %p\n", (void *)&word);
	while (command(line, sizeof line)) {
		char *space = strchr(line, ' ');
		if (space == NULL)
			continue;
		*space = 0;
		run(line, atol(space + 1));
	}
	return 0;
}
