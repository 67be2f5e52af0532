// Goroutines in C code that want each other's pthread mutexes. `cgolocks` stands still for ever,
// `cgolocks fixed` takes the locks in one order. Says `runs GOID TID` and `waits TID ADDRESS` of each
// goroutine, then `ready`; ends when its stdin does.
package main

/*
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t locks[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
static pthread_barrier_t all_hold;

static void prepare(void) { pthread_barrier_init(&all_hold, NULL, 3); }
static void wait_for_all(void) { pthread_barrier_wait(&all_hold); }

static void cross(int mine) {
	pthread_mutex_lock(&locks[mine]);
	printf("waits %d %p\n", (int)syscall(SYS_gettid), (void *)&locks[1 - mine]);
	fflush(stdout);
	wait_for_all();
	pthread_mutex_lock(&locks[1 - mine]);
	// A call at the end would be a jump, and the frame gone.
	pthread_mutex_unlock(&locks[1 - mine]);
}

static void in_order(void) {
	pthread_mutex_lock(&locks[0]);
	pthread_mutex_lock(&locks[1]);
	usleep(500);
	pthread_mutex_unlock(&locks[1]);
	pthread_mutex_unlock(&locks[0]);
}
*/
import "C"

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"
)

// own is the number of the goroutine, as it says itself: "goroutine 18 [running]: ..."
func own() string {
	text := make([]byte, 64)
	return string(bytes.Fields(text[:runtime.Stack(text, false)])[1])
}

func crosses(mine int) {
	runtime.LockOSThread()
	fmt.Println("runs", own(), syscall.Gettid())
	C.cross(C.int(mine))
}

func takesInOrder() {
	for {
		C.in_order()
		time.Sleep(time.Millisecond)
	}
}

func main() {
	C.prepare()
	fixed := len(os.Args) > 1 && os.Args[1] == "fixed"
	for i := 0; i < 2; i++ {
		if fixed {
			go takesInOrder()
		} else {
			go crosses(i)
		}
	}
	if !fixed {
		C.wait_for_all()
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}
