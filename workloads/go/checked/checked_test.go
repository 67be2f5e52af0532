package checked

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestMain says when the tests are over: from then on the program only has to end.
func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("CHECKED_GOLEAK") != "" {
		for _, creator := range leaked() {
			fmt.Println("goleak", creator)
		}
	}
	os.Exit(code)
}

func TestClean(t *testing.T) {
	p := StartPoller(time.Hour)
	p.Stop()
}

func TestLeak(t *testing.T) {
	never := make(chan struct{})
	go func() { <-never }()
}

func TestLeakInHelper(t *testing.T) {
	if Fetch(3) > 2 {
		t.Fatal("no such source")
	}
}

func TestLeakOfLoop(t *testing.T) {
	StartPoller(time.Millisecond)
}

func TestSlowWorker(t *testing.T) {
	StartPoller(time.Hour).StopSoon(50 * time.Millisecond)
}

func TestLateWorker(t *testing.T) {
	StartPoller(time.Hour).StopSoon(time.Hour)
}

func TestFails(t *testing.T) {
	t.Error("as it should")
}

func TestFailsAndLeaks(t *testing.T) {
	never := make(chan struct{})
	go func() { never <- struct{}{} }()
	t.Error("as it should")
}

func TestPanics(t *testing.T) {
	never := make(chan struct{})
	go func() { <-never }()
	panic("as it should")
}

func TestParallelOne(t *testing.T) {
	t.Parallel()
	time.Sleep(10 * time.Millisecond)
}

func TestParallelTwo(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	go func() { never <- struct{}{} }()
	time.Sleep(10 * time.Millisecond)
}

func TestParallelThree(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	go func() {
		go func() { <-never }()
		select {}
	}()
	time.Sleep(10 * time.Millisecond)
}

// BenchmarkSystemCalls makes cheap system calls, which a seccomp filter makes dearer if anything does.
func BenchmarkSystemCalls(b *testing.B) {
	for i := 0; i < b.N; i++ {
		syscall.Getppid()
	}
}
