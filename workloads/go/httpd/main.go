// Httpd is a web server whose handler starts one goroutine a request and waits for it: what loiter costs a busy
// service is measured on it. Nothing leaks, unless told so.
//
//	-addr ADDRESS   where to listen (127.0.0.1:0)
//	-leak N         each Nth request leaves a goroutine behind that sends where nobody receives (0: none does)
//
// Lines: "ready ADDRESS". Command "usage" answers "usage REQUESTS CPU_NS": requests answered and CPU time
// used by the process so far. Its pprof pages are under /debug/pprof/.
package main

import (
	"flag"
	"net"
	"net/http"
	_ "net/http/pprof"
	"strconv"
	"sync/atomic"
	"syscall"

	"loiter/workloads/control"
)

var (
	requests uint64
	leak     uint64
)

// compute is the work of one request.
func compute(n uint64, result chan<- uint64) {
	for i := 0; i < 64; i++ {
		n = n*6364136223846793005 + 1442695040888963407
	}
	result <- n
}

func handle(w http.ResponseWriter, _ *http.Request) {
	result := make(chan uint64)
	n := atomic.AddUint64(&requests, 1)
	go compute(n, result)
	if leak != 0 && n%leak == 0 {
		go compute(n, make(chan uint64))
	}
	w.Write(strconv.AppendUint(nil, <-result, 16))
}

func cpu() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		control.Fail("%v", err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	flag.Uint64Var(&leak, "leak", 0, "each Nth request leaks a goroutine")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		control.Fail("%v", err)
		control.Exit()
	}
	http.HandleFunc("/", handle)
	go func() {
		control.Fail("%v", http.Serve(listener, nil))
		control.Exit()
	}()
	control.Say("ready %s", listener.Addr())
	control.Serve(func(command string, _ []string) {
		switch command {
		case "usage":
			control.Say("usage %d %d", atomic.LoadUint64(&requests), cpu())
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
