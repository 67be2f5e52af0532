//go:build cgo

package main

/*
#include <pthread.h>
#include <unistd.h>

extern void zooCalledBack(void);

static void waitInC(void) { for (;;) pause(); }
static void callBack(void) { zooCalledBack(); }
static void *thread(void *arg) { zooCalledBack(); return arg; }
static int startThread(void) {
	pthread_t t;
	return pthread_create(&t, 0, thread, 0);
}
*/
import "C"

var foreignDoor = make(chan int)

//export zooCalledBack
func zooCalledBack() { <-foreignDoor }

// openForeignCages holds goroutines in C, in a callback from C, and on a thread that C made.
func openForeignCages() {
	go C.waitInC()
	go C.callBack()
	if C.startThread() != 0 {
		panic("no thread")
	}
}
