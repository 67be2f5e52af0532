// Leaks has the usual ways to leave goroutines behind, each with its fix, and programs that look like them and are right.
//
//	leaks PATTERN leak    loses some goroutines a second; others of the same spawn site come back
//	leaks PATTERN fixed   the same with the usual fix: nothing stays
//	leaks NAME slow       waits long, on purpose, and is right
//	leaks -noise N ...    beside it N goroutines come and go at once, ten times a second
//	leaks list            prints "PATTERN leak" and so on, one a line, and ends
//
// Where a pattern is known by the functions of a library that is not at hand, lookalikes has a small one with the same names.
//
// Lines: "ready" when the first operations are under way. Takes no commands. What is called "leak" leaks until the program ends.
package main

import (
	"flag"
	"sort"
	"sync"
	"time"

	"loiter/workloads/control"
)

// twins are the programs of one pattern; what there is not is nil.
type twins struct {
	leak, fixed, slow func()
}

// patterns by name: those of channels.go, contexts.go, locks.go, network.go, libraries.go and slow.go.
var patterns = map[string]twins{
	"send-unbuffered-no-receiver":     {sendNoReceiver(0), sendNoReceiver(1), generators},
	"send-full-buffer":                {sendFullBuffer(false), sendFullBuffer(true), rateLimited},
	"range-never-closed":              {rangeNeverClosed(false), rangeNeverClosed(true), poolOfRange},
	"receive-no-sender":               {receiveNoSender(false), receiveNoSender(true), nil},
	"select-without-exit":             {selectNoExit(false), selectNoExit(true), quietSessions},
	"nil-channel":                     {nilChannel(false), nilChannel(true), nilCase},
	"select-without-cases":            {selectEmpty, mainSelectEmpty, nil},
	"ticker-loop-without-exit":        {tickerLoop(false), tickerLoop(true), tickersForEver},
	"time-after-in-loop":              {timerHeap(false), timerHeap(true), nil},
	"context-never-cancelled":         {contextNotCancelled(false), contextNotCancelled(true), contextWithTimeout},
	"context-done":                    {contextDone(false), contextDone(true), waits60s},
	"waitgroup-without-done":          {waitgroupNoDone(false), waitgroupNoDone(true), longBatches},
	"mutex-never-unlocked":            {mutexNeverUnlocked(false), mutexNeverUnlocked(true), contendedMutex},
	"rwmutex-never-unlocked":          {rwmutexNeverUnlocked(false), rwmutexNeverUnlocked(true), slowReaders},
	"cond-never-signalled":            {condNeverSignalled(false), condNeverSignalled(true), poolOfCond},
	"http-body-not-closed":            {httpBody(false), httpBody(true), httpLongPoll},
	"websocket-read-without-deadline": {websocketRead(false), websocketRead(true), quietWebsockets},
	"grpc-stream-not-drained":         {grpcStream(false), grpcStream(true), grpcLongStreams},
	"log-flusher-not-stopped":         {logFlusher(false), logFlusher(true), fewLoggers},
	"sql-rows-not-closed":             {sqlRows(0, false), sqlRows(0, true), sqlSlowQueries},
	"sql-pool-exhausted":              {sqlRows(4, false), sqlRows(4, true), nil},
	"pool-of-select":                  {nil, nil, poolOfSelect},
	"mixed-60s":                       {nil, nil, mixed60s},
	"long-poll-server":                {nil, nil, longPollServer},
	"accept":                          {nil, nil, quietAcceptLoops},
	"keep-alive":                      {nil, nil, keepAlive},
	"burst":                           {nil, nil, burst},
	"ramp":                            {nil, nil, ramp},
	"singleflight":                    {nil, nil, singleflight},
	"errgroup":                        {nil, nil, errgroupFanOut},
}

// rate is how many operations a second there are, unless a program needs fewer.
const rate = 20

// loses tells whether operation n is one that loses its goroutine: one in eight, so that its siblings come back.
func loses(n int) bool { return n%8 == 3 }

// drive does an operation again and again, so many times a second, until the program ends.
func drive(perSecond int, operation func(n int)) {
	go func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		for n := 0; ; n++ {
			operation(n)
			<-tick.C
		}
	}()
}

func comeAndGo(n int) {
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go all.Done()
	}
	all.Wait()
}

func list() {
	var lines []string
	for name, twins := range patterns {
		for twin, run := range map[string]func(){"leak": twins.leak, "fixed": twins.fixed, "slow": twins.slow} {
			if run != nil {
				lines = append(lines, name+" "+twin)
			}
		}
	}
	sort.Strings(lines)
	for _, line := range lines {
		control.Say("%s", line)
	}
}

func main() {
	noise := flag.Int("noise", 0, "goroutines that come and go beside it, ten times a second")
	flag.Parse()
	if flag.Arg(0) == "list" {
		list()
		return
	}
	twins, known := patterns[flag.Arg(0)]
	run := map[string]func(){"leak": twins.leak, "fixed": twins.fixed, "slow": twins.slow}[flag.Arg(1)]
	if !known || run == nil {
		control.Fail("there is no %q", flag.Args())
		control.Exit()
	}
	run()
	if *noise > 0 {
		drive(10, func(int) { comeAndGo(*noise) })
	}
	control.Say("ready")
	serve()
}

// serve waits for the end on the main goroutine; mainSelectEmpty replaces it.
var serve = control.WaitForEnd
