// Package websocket is a look-alike of github.com/gorilla/websocket: a length and that many bytes instead of frames, read by
// functions of the same names. Nothing is copied from the original.
package websocket

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"time"
)

// Conn is one connection.
type Conn struct {
	conn      net.Conn
	br        *bufio.Reader
	remaining uint32
}

// NewConn speaks the protocol over a connection.
func NewConn(conn net.Conn) *Conn {
	return &Conn{conn: conn, br: bufio.NewReader(conn)}
}

// SetReadDeadline bounds the reads to come.
func (c *Conn) SetReadDeadline(at time.Time) error { return c.conn.SetReadDeadline(at) }

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// WriteMessage sends one message.
func (c *Conn) WriteMessage(data []byte) error {
	message := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	_, err := c.conn.Write(append(message, data...))
	return err
}

// ReadMessage gives the next message.
func (c *Conn) ReadMessage() ([]byte, error) {
	reader, err := c.NextReader()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

// NextReader waits for the next message.
func (c *Conn) NextReader() (io.Reader, error) {
	if err := c.advanceFrame(); err != nil {
		return nil, err
	}
	return io.LimitReader(c.br, int64(c.remaining)), nil
}

//go:noinline
func (c *Conn) advanceFrame() error {
	head, err := c.read(4)
	if err != nil {
		return err
	}
	c.remaining = binary.BigEndian.Uint32(head)
	return nil
}

//go:noinline
func (c *Conn) read(n int) ([]byte, error) {
	data, err := c.br.Peek(n)
	if err != nil {
		return nil, err
	}
	c.br.Discard(len(data))
	return data, nil
}
