package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"loiter/workloads/control"
)

func must(err error) {
	if err != nil {
		control.Fail("%v", err)
		control.Exit()
	}
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	return listener
}

// startServer serves HTTP, and gives where.
func startServer(handle http.HandlerFunc) string {
	listener := listen()
	go func() { must(http.Serve(listener, handle)) }()
	return "http://" + listener.Addr().String()
}

// http Response.Body never closed: the connection cannot be used again, and its two goroutines stay. The fix is to read it and close it.

func price(client *http.Client, url string, careless bool) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	if careless {
		return nil
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func httpBody(fixed bool) func() {
	return func() {
		url := startServer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "9.99 and no more") })
		// Without keep-alive each request has a connection, and its two goroutines, of its own: some come back.
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		drive(10, func(n int) { must(price(client, url, !fixed && loses(n))) })
	}
}

// Ten clients read an answer that goes on and on, with a line every 20 s.
func httpLongPoll() {
	url := startServer(func(w http.ResponseWriter, r *http.Request) {
		for {
			io.WriteString(w, "nothing new\n")
			w.(http.Flusher).Flush()
			select {
			case <-time.After(20 * time.Second):
			case <-r.Context().Done():
				return
			}
		}
	})
	for i := 0; i < 10; i++ {
		go func() {
			answer, err := http.Get(url)
			must(err)
			defer answer.Body.Close()
			for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			}
		}()
	}
}

// A websocket read with no deadline: the other side has gone without a word. The fix is a deadline.

// meet gives both ends of a connection of this machine.
func meet(listener net.Listener) (client, server net.Conn) {
	client, err := net.Dial("tcp", listener.Addr().String())
	must(err)
	server, err = listener.Accept()
	must(err)
	return client, server
}

func readPump(conn *websocket.Conn, patience time.Duration) {
	defer conn.Close()
	for {
		if patience > 0 {
			conn.SetReadDeadline(time.Now().Add(patience))
		}
		if _, err := conn.ReadMessage(); err != nil {
			return
		}
	}
}

// vanished keeps the client sides from the garbage collector, which would close them.
var vanished []*websocket.Conn

func websocketRead(fixed bool) func() {
	return func() {
		listener := listen()
		patience := time.Duration(0)
		if fixed {
			patience = 3 * time.Second
		}
		drive(10, func(n int) {
			near, far := meet(listener)
			client := websocket.NewConn(near)
			go readPump(websocket.NewConn(far), patience)
			client.WriteMessage([]byte("hello"))
			if loses(n) {
				vanished = append(vanished, client)
			} else {
				client.Close()
			}
		})
	}
}

// Thirty connections that stay, with a message every 20 s.
func quietWebsockets() {
	listener := listen()
	for i := 0; i < 30; i++ {
		near, far := meet(listener)
		client := websocket.NewConn(near)
		go readPump(websocket.NewConn(far), time.Minute)
		go func() {
			for range time.Tick(20 * time.Second) {
				client.WriteMessage([]byte("still here"))
			}
		}()
	}
}

// Listeners that nobody comes to.
func quietAcceptLoops() {
	for i := 0; i < 20; i++ {
		listener := listen()
		go func() {
			for {
				conn, err := listener.Accept()
				must(err)
				conn.Close()
			}
		}()
	}
}

// Connections kept alive between requests that come every 20 s, on the client's side and the server's.
func keepAlive() {
	url := startServer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	for i := 0; i < 30; i++ {
		client := &http.Client{Transport: &http.Transport{}}
		go func() {
			for {
				must(price(client, url, false))
				time.Sleep(20 * time.Second)
			}
		}()
	}
}

// Handlers that hold a request until there is news, for 60 s at most; quick requests come in between.
func longPollServer() {
	news := make(chan string)
	url := startServer(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			return
		}
		select {
		case text := <-news:
			io.WriteString(w, text)
		case <-time.After(time.Minute):
		case <-r.Context().Done():
		}
	})
	// One connection each: goroutines of one spawn site with short and long lives.
	get := func(path string) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		must(price(client, url+path, false))
	}
	for i := 0; i < 30; i++ {
		go func() {
			for {
				get("/news")
			}
		}()
	}
	drive(5, func(int) { get("/quick") })
}
