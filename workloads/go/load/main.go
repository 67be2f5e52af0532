// Load is a client of HTTP services: it keeps a few connections busy with requests in turn, at a rate, and holds some answers open. Nothing leaks.
//
//	-request "GET URL" or "POST URL BODY"   may be given several times: sent in turn
//	-stream  as -request                    held open, and opened again when it ends; may be given several times
//	-rate N                                 requests a second (200)
//	-connections N                          at most so many at a time (16)
//
// Lines: "ready" when each request was answered once. Command "answered" answers "answered N FAILED".
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
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

func work(turns <-chan string) {
	for text := range turns {
		if exchange(text) != nil {
			atomic.AddUint64(&failed, 1)
		} else {
			atomic.AddUint64(&answered, 1)
		}
	}
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
	turns := make(chan string)
	for i := 0; i < *connections; i++ {
		go work(turns)
	}
	go func() {
		tick := time.NewTicker(time.Second / time.Duration(*rate))
		for n := 0; len(each) > 0; n++ {
			turns <- each[n%len(each)]
			<-tick.C
		}
	}()
	control.Say("ready")
	control.Serve(func(command string, _ []string) {
		switch command {
		case "answered":
			control.Say("answered %d %d", atomic.LoadUint64(&answered), atomic.LoadUint64(&failed))
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
