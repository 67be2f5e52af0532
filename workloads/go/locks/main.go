// Locks has goroutines that wait for locks and groups: some for ever, some with good reason.
//
// Lines: "ready"; after the command "go", when all of them wait, "waiting MUTEX_ADDRESS".
package main

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"loiter/workloads/control"
)

// account is guarded by a mutex that somebody forgot to unlock.
type account struct {
	sync.Mutex
	balance int
}

var shared = new(account)

// atWork counts those that are about to wait.
var atWork int32

func arrive() { atomic.AddInt32(&atWork, 1) }

// The three places at which the one mutex is waited for.

func deposit() {
	arrive()
	shared.Lock()
	shared.balance++
	shared.Unlock()
}

func withdraw() {
	arrive()
	shared.Lock()
	shared.balance--
	shared.Unlock()
}

func report() {
	arrive()
	shared.Lock()
	control.Say("%d", shared.balance)
	shared.Unlock()
}

// forgetsDone has children that end without a call of Done.
func forgetsDone() {
	var group sync.WaitGroup
	for i := 0; i < 3; i++ {
		group.Add(1)
		go mayFail(&group, i)
	}
	arrive()
	group.Wait()
}

// mayFail calls Done only where it has nothing to complain of.
func mayFail(group *sync.WaitGroup, i int) {
	if i > 5 {
		group.Done()
	}
}

// supervise waits for children that live as long as the program.
func supervise() {
	var group sync.WaitGroup
	for i := 0; i < 3; i++ {
		group.Add(1)
		go ticks(&group)
	}
	arrive()
	group.Wait()
}

func ticks(group *sync.WaitGroup) {
	defer group.Done()
	for {
		time.Sleep(50 * time.Millisecond)
	}
}

// closeAfter waits for others that its parent started.
func closeAfter(group *sync.WaitGroup, results chan int) {
	arrive()
	group.Wait()
	close(results)
}

// pipeline has workers and one that closes their channel when all of them are done.
func pipeline() {
	var group sync.WaitGroup
	results := make(chan int)
	for i := 0; i < 3; i++ {
		group.Add(1)
		go ticks(&group)
	}
	go closeAfter(&group, results)
	arrive()
	for range results {
	}
}

// readAndWrite has a reader that keeps the lock, a writer that waits for it, and a reader behind the writer.
func readAndWrite() {
	lock := new(sync.RWMutex)
	lock.RLock()
	go write(lock)
	for lock.TryRLock() {
		lock.RUnlock()
		time.Sleep(time.Millisecond)
	}
	go read(lock)
}

func write(lock *sync.RWMutex) {
	arrive()
	lock.Lock()
}

func read(lock *sync.RWMutex) {
	arrive()
	lock.RLock()
}

// selectsNothing waits on channels that are all nil.
func selectsNothing() {
	var a, b chan int
	arrive()
	select {
	case <-a:
	case b <- 1:
	}
}

func begin() {
	shared.Lock()
	for i := 0; i < 4; i++ {
		go deposit()
	}
	for i := 0; i < 2; i++ {
		go withdraw()
	}
	go report()
	go forgetsDone()
	go supervise()
	go pipeline()
	go readAndWrite()
	go selectsNothing()
	control.Until("all are about to wait", func() bool { return atomic.LoadInt32(&atWork) == 14 })
	control.Until("all wait for the mutex", func() bool {
		return atomic.LoadInt32((*int32)(unsafe.Pointer(&shared.Mutex)))>>3 == 7
	})
	control.Say("waiting %p", shared)
}

func main() {
	control.Say("ready")
	control.Serve(func(command string, _ []string) {
		if command != "go" {
			control.Fail("unknown command %q", command)
			return
		}
		begin()
	})
}
