/* Loads a Go shared library, starts N goroutines in it, and ends when its input is closed.
 * Usage: host LIBRARY N */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
	if (argc != 3) {
		fprintf(stderr, "usage: host LIBRARY N\n");
		return 2;
	}
	void *library = dlopen(argv[1], RTLD_NOW);
	if (!library) {
		printf("FAILED %s\n", dlerror());
		return 1;
	}
	void (*start)(int) = (void (*)(int))dlsym(library, "Start");
	if (!start) {
		printf("FAILED %s\n", dlerror());
		return 1;
	}
	start(atoi(argv[2]));
	printf("ready %s\n", argv[2]);
	fflush(stdout);
	while (getchar() != EOF) {
	}
	return 0;
}
