package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"gopkg.in/natefinch/lumberjack.v2"
)

// A gRPC stream never drained or cancelled: its goroutine waits for either. The fix is to cancel its context.

func subscribe(ctx context.Context, conn *grpc.ClientConn, careless bool) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, 3)
	if err != nil {
		return err
	}
	for {
		if _, err := stream.RecvMsg(); err == io.EOF {
			return nil
		}
		if careless {
			return nil
		}
	}
}

func grpcStream(fixed bool) func() {
	return func() {
		conn := grpc.NewClient()
		drive(rate, func(n int) {
			ctx := context.Background()
			if fixed {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
			}
			must(subscribe(ctx, conn, loses(n)))
		})
	}
}

// Ten streams that stay open on purpose.
func grpcLongStreams() {
	conn := grpc.NewClient()
	for i := 0; i < 10; i++ {
		_, err := conn.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true}, 3)
		must(err)
	}
}

// A log flusher on a channel no one closes: a logger for each request. The fix is one for all.
func logFlusher(fixed bool) func() {
	return func() {
		shared := &lumberjack.Logger{Filename: "requests.log"}
		drive(3, func(n int) {
			logger := shared
			if !fixed {
				logger = &lumberjack.Logger{Filename: fmt.Sprintf("request-%d.log", n)}
			}
			fmt.Fprintln(logger, "request", n)
			logger.Close()
		})
	}
}

// A few loggers, as a program has that keeps its logs apart.
func fewLoggers() {
	for i := 0; i < 6; i++ {
		logger := &lumberjack.Logger{Filename: fmt.Sprintf("log-%d", i)}
		go func() {
			for range time.Tick(40 * time.Second) {
				fmt.Fprintln(logger, "nothing new")
			}
		}()
	}
}

// database/sql rows not closed: each keeps its connection, and the goroutine that waits for the end of its context. With a
// bounded pool those who come after wait for a connection. The fix is a deferred Close.
func sqlRows(connections int, fixed bool) func() {
	return func() {
		db := sql.OpenDB(memory{})
		db.SetMaxOpenConns(connections)
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel
		drive(10, func(n int) { go firstOrder(ctx, db, fixed || !loses(n)) })
	}
}

func firstOrder(ctx context.Context, db *sql.DB, tidy bool) {
	rows, err := db.QueryContext(ctx, "SELECT id FROM orders")
	must(err)
	if tidy {
		defer rows.Close()
	}
	rows.Next()
}

// Queries that take 40 s to be read.
func sqlSlowQueries() {
	db := sql.OpenDB(memory{})
	ctx, cancel := context.WithCancel(context.Background())
	_ = cancel
	drive(1, func(int) {
		go func() {
			rows, err := db.QueryContext(ctx, "SELECT id FROM archive")
			must(err)
			defer rows.Close()
			for rows.Next() {
				time.Sleep(10 * time.Second)
			}
		}()
	})
}

// memory is a database with one answer: four rows.
type memory struct{}

func (memory) Connect(context.Context) (driver.Conn, error) { return memory{}, nil }
func (memory) Driver() driver.Driver                        { return memory{} }
func (memory) Open(string) (driver.Conn, error)             { return memory{}, nil }
func (memory) Prepare(string) (driver.Stmt, error)          { return memory{}, nil }
func (memory) Close() error                                 { return nil }
func (memory) Begin() (driver.Tx, error)                    { return nil, driver.ErrSkip }
func (memory) NumInput() int                                { return 0 }
func (memory) Exec([]driver.Value) (driver.Result, error)   { return nil, driver.ErrSkip }
func (memory) Query([]driver.Value) (driver.Rows, error)    { return &four{}, nil }

type four struct{ read int }

func (*four) Columns() []string { return []string{"id"} }
func (*four) Close() error      { return nil }
func (f *four) Next(row []driver.Value) error {
	if f.read == 4 {
		return io.EOF
	}
	f.read++
	row[0] = int64(f.read)
	return nil
}
