// Orders is a small order service with a leak that reviewers miss, and its fixed twin.
//
// Each accepted order is written to an audit log: the handler starts a goroutine that sends the entry
// on a buffered channel, and one goroutine writes what arrives. When the store of the audit log is full, the
// writer gives up and returns. From then on the channel fills, and every further order leaves a goroutine behind that
// waits in the send for ever. The customers see nothing: orders are answered as before.
//
//	-addr ADDRESS   where to listen (127.0.0.1:0)
//	-quota N        entries the audit store takes before it is full (200)
//	-fixed          the twin: the writer goes on and counts what it could not write; nothing leaks
//	-drive ADDRESS  be the customers instead: send orders to a service at ADDRESS
//	-rate N         orders a second to send (200)
//
// Lines: "ready ADDRESS"; as customer "ready", and "sent N" on the command "sent". The service answers
// the command "orders" with "orders ACCEPTED WRITTEN LOST".
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
	"strings"
	"sync/atomic"
	"time"

	"loiter/workloads/control"
)

// Order is what a customer sends.
type Order struct {
	Customer string `json:"customer"`
	Article  string `json:"article"`
	Pieces   int    `json:"pieces"`
}

// entry is one line of the audit log.
type entry struct {
	order Order
	id    uint64
}

var errFull = errors.New("audit store is full")

// store keeps a bounded number of entries.
type store struct {
	quota   int64
	written int64
}

func (s *store) write(entry) error {
	if atomic.LoadInt64(&s.written) >= s.quota {
		return errFull
	}
	atomic.AddInt64(&s.written, 1)
	return nil
}

// service takes orders.
type service struct {
	audit    chan entry
	store    store
	accepted uint64
	lost     uint64
	fixed    bool
}

// writeAudit is the one consumer of the audit channel. It returns at the first error: the leak.
func (s *service) writeAudit() {
	for e := range s.audit {
		if err := s.store.write(e); err != nil {
			return
		}
	}
}

// writeAuditAndGoOn is the fix: an entry that cannot be written is counted, and the channel is still drained.
func (s *service) writeAuditAndGoOn() {
	for e := range s.audit {
		if err := s.store.write(e); err != nil {
			atomic.AddUint64(&s.lost, 1)
		}
	}
}

// recordOrder sends one entry to the audit log.
func (s *service) recordOrder(e entry) {
	s.audit <- e
}

// placeOrder is the handler: it answers at once and leaves the audit entry to a goroutine.
func (s *service) placeOrder(w http.ResponseWriter, r *http.Request) {
	var order Order
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil || order.Pieces < 1 {
		http.Error(w, "not an order", http.StatusBadRequest)
		return
	}
	id := atomic.AddUint64(&s.accepted, 1)
	go s.recordOrder(entry{order, id})
	fmt.Fprintf(w, "{\"order\":%d}\n", id)
}

func serve(addr string, quota int64, fixed bool) {
	s := &service{audit: make(chan entry, 64), store: store{quota: quota}, fixed: fixed}
	if fixed {
		go s.writeAuditAndGoOn()
	} else {
		go s.writeAudit()
	}
	http.HandleFunc("/order", s.placeOrder)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		control.Fail("%v", err)
		control.Exit()
	}
	go func() {
		control.Fail("%v", http.Serve(listener, nil))
		control.Exit()
	}()
	control.Say("ready %s", listener.Addr())
	control.Serve(func(command string, _ []string) {
		switch command {
		case "orders":
			control.Say("orders %d %d %d", atomic.LoadUint64(&s.accepted),
				atomic.LoadInt64(&s.store.written), atomic.LoadUint64(&s.lost))
		default:
			control.Fail("unknown command %q", command)
		}
	})
}

func drive(addr string, rate int) {
	var sent uint64
	go func() {
		url := "http://" + addr + "/order"
		tick := time.NewTicker(time.Second / time.Duration(rate))
		for range tick.C {
			body := strings.NewReader(`{"customer":"ada","article":"tea","pieces":2}`)
			answer, err := http.Post(url, "application/json", body)
			if err != nil {
				return
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			atomic.AddUint64(&sent, 1)
		}
	}()
	control.Say("ready")
	control.Serve(func(command string, _ []string) {
		switch command {
		case "sent":
			control.Say("sent %d", atomic.LoadUint64(&sent))
		default:
			control.Fail("unknown command %q", command)
		}
	})
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	quota := flag.Int64("quota", 200, "entries the audit store takes")
	fixed := flag.Bool("fixed", false, "the twin without the leak")
	target := flag.String("drive", "", "send orders to this address instead")
	rate := flag.Int("rate", 200, "orders a second to send")
	flag.Parse()
	if *target != "" {
		drive(*target, *rate)
		return
	}
	serve(*addr, *quota, *fixed)
}
