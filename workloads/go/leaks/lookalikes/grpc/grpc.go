// Package grpc is a look-alike of google.golang.org/grpc: no network and no protocol, only the goroutine that a client
// stream keeps until it is drained or cancelled, in functions of the same names. Nothing is copied from the original.
package grpc

import (
	"context"
	"errors"
	"io"
)

// StreamDesc describes a stream.
type StreamDesc struct {
	ServerStreams bool
}

// ClientStream is what a caller reads from.
type ClientStream interface {
	RecvMsg() (int, error)
}

// ClientConn is a connection that streams are opened on.
type ClientConn struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// NewClient gives a connection.
func NewClient() *ClientConn {
	ctx, cancel := context.WithCancel(context.Background())
	return &ClientConn{ctx, cancel}
}

// Close ends the connection and all of its streams.
func (cc *ClientConn) Close() { cc.cancel() }

// NewStream opens a stream with so many messages to come.
func (cc *ClientConn) NewStream(ctx context.Context, desc *StreamDesc, messages int) (ClientStream, error) {
	return newClientStream(ctx, desc, cc, messages)
}

func newClientStream(ctx context.Context, desc *StreamDesc, cc *ClientConn, messages int) (ClientStream, error) {
	return newClientStreamWithParams(ctx, desc, cc, messages)
}

type clientStream struct {
	ctx      context.Context
	cancel   context.CancelFunc
	messages chan int
	finish   func(error)
}

// newClientStreamWithParams has as many closures as the original before the one that waits: its name counts them.
func newClientStreamWithParams(ctx context.Context, desc *StreamDesc, cc *ClientConn, messages int) (ClientStream, error) {
	if cc.ctx.Err() != nil {
		return nil, errors.New("the connection is closed")
	}
	ctx, cancel := context.WithCancel(ctx)
	cs := &clientStream{ctx: ctx, cancel: cancel, messages: make(chan int, messages)}
	cs.finish = func(error) { cs.cancel() }
	op := func(n int) error {
		cs.messages <- n
		return nil
	}
	onCommit := func() { close(cs.messages) }
	for n := 0; n < messages; n++ {
		if err := op(n); err != nil {
			cs.finish(err)
			return nil, err
		}
	}
	defer onCommit()
	if desc.ServerStreams {
		go func() {
			select {
			case <-cc.ctx.Done():
				cs.finish(errors.New("the connection is closing"))
			case <-ctx.Done():
				cs.finish(ctx.Err())
			}
		}()
	}
	return cs, nil
}

// RecvMsg gives the next message; at the end io.EOF, and the stream is done with.
func (cs *clientStream) RecvMsg() (int, error) {
	n, more := <-cs.messages
	if !more {
		cs.finish(nil)
		return 0, io.EOF
	}
	return n, nil
}
