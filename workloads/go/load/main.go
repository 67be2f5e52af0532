// Load is a client of HTTP services: it keeps a few connections busy with requests in turn, at a rate, and holds some answers open. Nothing leaks.
//
//	-request "GET URL" or "POST URL BODY"   may be given several times: sent in turn
//	-stream  as -request                    held open, and opened again when it ends; may be given several times
//	-rate N                                 requests a second (200)
//	-connections N                          at most so many at a time (16)
//
// Lines: "ready" when each request was answered once. Command "answered" answers "answered N FAILED"; "latencies"
// answers "latencies N P50_NS P99_NS" of the requests since it was asked last, from when each was due.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"loiter/workloads/control"
)

// requests is a flag that may be given several times.
type requests []string

func (r *requests) String() string { return strings.Join(*r, ", ") }

func (r *requests) Set(text string) error {
	if len(strings.SplitN(text, " ", 3)) < 2 {
		return fmt.Errorf("%q is not METHOD URL", text)
	}
	*r = append(*r, text)
	return nil
}

var (
	client           http.Client
	answered, failed uint64
)

func send(text string) (*http.Response, error) {
	words := append(strings.SplitN(text, " ", 3), "")
	request, err := http.NewRequest(words[0], words[1], strings.NewReader(words[2]))
	if err != nil {
		return nil, err
	}
	return client.Do(request)
}

func exchange(text string) error {
	answer, err := send(text)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", text, answer.Status)
	}
	return nil
}

// turn is a request and when it is due.
type turn struct {
	text string
	due  time.Time
}

func work(turns <-chan turn) {
	for turn := range turns {
		if exchange(turn.text) != nil {
			atomic.AddUint64(&failed, 1)
		} else {
			atomic.AddUint64(&answered, 1)
		}
		times.add(time.Since(turn.due))
	}
}

// latencies are those since they were taken last, as many as there is room for.
type latencies struct {
	sync.Mutex
	all []time.Duration
}

var times = latencies{all: make([]time.Duration, 0, 1<<20)}

func (l *latencies) add(one time.Duration) {
	l.Lock()
	defer l.Unlock()
	if len(l.all) < cap(l.all) {
		l.all = append(l.all, one)
	}
}

// take gives how many there were, the middle one, and the one that 99 of 100 do not pass.
func (l *latencies) take() (int, time.Duration, time.Duration) {
	l.Lock()
	defer l.Unlock()
	n := len(l.all)
	if n == 0 {
		return 0, 0, 0
	}
	sort.Slice(l.all, func(i, j int) bool { return l.all[i] < l.all[j] })
	half, most := l.all[n/2], l.all[n*99/100]
	l.all = l.all[:0]
	return n, half, most
}

func hold(text string) {
	for {
		if exchange(text) != nil {
			atomic.AddUint64(&failed, 1)
		}
		time.Sleep(time.Second)
	}
}

func main() {
	var each, streams requests
	flag.Var(&each, "request", "what to send")
	flag.Var(&streams, "stream", "what to hold open")
	rate := flag.Int("rate", 200, "requests a second")
	connections := flag.Int("connections", 16, "at most so many at a time")
	flag.Parse()
	client.Transport = &http.Transport{MaxIdleConnsPerHost: *connections, MaxConnsPerHost: 0}
	for _, text := range each {
		if err := exchange(text); err != nil {
			control.Fail("%v", err)
			control.Exit()
		}
	}
	for _, text := range streams {
		go hold(text)
	}
	turns := make(chan turn, 1<<16)
	for i := 0; i < *connections; i++ {
		go work(turns)
	}
	go func() {
		period := time.Second / time.Duration(*rate)
		due := time.Now()
		for n := 0; len(each) > 0; n++ {
			time.Sleep(time.Until(due))
			turns <- turn{each[n%len(each)], due}
			due = due.Add(period)
		}
	}()
	control.Say("ready")
	control.Serve(func(command string, _ []string) {
		switch command {
		case "answered":
			control.Say("answered %d %d", atomic.LoadUint64(&answered), atomic.LoadUint64(&failed))
		case "latencies":
			n, half, most := times.take()
			control.Say("latencies %d %d %d", n, half, most)
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
