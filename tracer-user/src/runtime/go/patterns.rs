//! Usual mistakes in Go programs, and what usually mends them. Names as `goroutine?debug=2` writes
//! them, read in the sources named beside them; a `*` stands for the numbers of closures. Special
//! before general: the first that fits is told, and what fits none stays without advice.

use std::borrow::Cow;

use crate::base::{FunctionAt, Pattern, Place, Shape, WaitClass};

use Place::Stack;
use WaitClass::{ChanReceive, ChanSend, Group, Io, Lock, Never, Select, Sleep};

/// A row of the table.
struct Row {
    name: &'static str,
    classes: &'static [WaitClass],
    object: Shape,
    functions: &'static [(Place, &'static str)],
    advice: &'static str,
}

const fn by_frames(
    name: &'static str,
    classes: &'static [WaitClass],
    functions: &'static [(Place, &'static str)],
    advice: &'static str,
) -> Row {
    Row { name, classes, object: Shape::Any, functions, advice }
}

const fn by_object(
    name: &'static str,
    classes: &'static [WaitClass],
    object: Shape,
    advice: &'static str,
) -> Row {
    Row { name, classes, object, functions: &[], advice }
}

/// Up to 1.23 a wait for a lock may have the same word as one for a group.
const LOCKS: &[WaitClass] = &[Lock, Group];
/// Waits that one channel or more can end.
const RECEIVES: &[WaitClass] = &[ChanReceive, Select];

const BODY: &str = "an HTTP response is open: close every Response.Body, also of those that are not read \
     (`defer resp.Body.Close()` right after the error check), and give the request a context or the client a Timeout";
const GRPC_STREAM: &str = "a gRPC stream was neither read to its end nor cancelled: call Recv until it \
     returns an error, or cancel the context the stream was opened with";
const GRPC_RECV: &str = "waits for the other side of a gRPC stream: give the stream's context a deadline or \
     cancel it, and let keepalive parameters notice a peer that is gone";
const WEBSOCKET: &str = "waits for a peer that may be gone: set a read deadline and extend it in the \
     pong handler, and ping at less than that interval";
const LOG_FLUSHER: &str = "each logger starts a goroutine that only stopping it ends: make one logger and \
     share it, or stop each (Stop, Close) when it is done with";
const LUMBERJACK: &str = "each lumberjack.Logger that has rotated keeps a goroutine on a channel that nothing closes, \
     not even Close: make one per file and keep it for the life of the program";
const SQL_ROWS: &str = "rows of a query are open: `defer rows.Close()` after each Query, also where \
     the loop over them may return early, and check rows.Err";
const SQL_TX: &str = "a transaction was neither committed nor rolled back: `defer tx.Rollback()` after \
     each BeginTx";
const SQL_POOL: &str = "all connections of the pool are in use and none comes back: look for rows, statements or transactions \
     that are not closed; give queries a context with a deadline, and SetMaxOpenConns what the load needs";
const SQL_OPENED: &str = "each sql.Open starts this goroutine, and only DB.Close ends it: open a pool \
     once and share it";
const CONTEXT: &str = "waits for a context or a done channel that nobody ends: call the cancel function \
     on every path (`defer cancel()`), or give the context a timeout; close the done channel when the owner stops";
const PIPE: &str = "the other end of an io.Pipe has gone without closing it: let both sides close theirs with \
     CloseWithError on every path";
const COND: &str = "nobody calls Signal or Broadcast any more: Broadcast on every change and at the end, \
     and check the condition under the lock before each Wait";
const HTTP_ROUND_TRIP: &str = "waits for an HTTP response with no time-out that ended it: set Client.Timeout or give the request \
     a context with a deadline";

const TABLE: &[Row] = &[
    // Nothing can end these (runtime/chan.go, select.go).
    by_object(
        "nil-channel",
        &[Never],
        Shape::Nil,
        "the channel is nil, so this can never go on: make it before it is used; in a select a nil \
         channel only switches its case off",
    ),
    // runtime/select.go
    by_frames(
        "select-without-cases",
        &[Never],
        &[(Stack, "runtime.block")],
        "`select {}` never ends: outside of main wait for a context or a done channel instead",
    ),
    // net/http/transport.go: an idle connection waits for input in readLoop; in a select there it waits
    // until the body of a response is read to its end or closed. writeLoop waits for the next request either way.
    by_frames(
        "http-body-not-closed",
        &[Select],
        &[(Stack, "net/http.(*persistConn).readLoop")],
        BODY,
    ),
    by_frames(
        "http-body-not-closed",
        &[Select],
        &[(Stack, "net/http.(*persistConn).writeLoop")],
        BODY,
    ),
    // Over HTTP/2 each open request has a goroutine: net/http/h2_bundle.go up to 1.26,
    // net/http/internal/http2 from 1.27, golang.org/x/net/http2/transport.go
    by_frames(
        "http-body-not-closed",
        &[Select],
        &[(Stack, "net/http.(*http2clientStream).writeRequest")],
        BODY,
    ),
    by_frames(
        "http-body-not-closed",
        &[Select],
        &[(Stack, "net/http/internal/http2.(*clientStream).writeRequest")],
        BODY,
    ),
    by_frames(
        "http-body-not-closed",
        &[Select],
        &[(Stack, "golang.org/x/net/http2.(*clientStream).writeRequest")],
        BODY,
    ),
    by_frames(
        "http-request-without-timeout",
        &[Select],
        &[(Stack, "net/http.(*persistConn).roundTrip")],
        HTTP_ROUND_TRIP,
    ),
    // google.golang.org/grpc/stream.go, 1.33 and 1.82
    by_frames(
        "grpc-stream-not-drained",
        RECEIVES,
        &[(Stack, "google.golang.org/grpc.newClientStreamWithParams.func*")],
        GRPC_STREAM,
    ),
    by_frames(
        "grpc-stream-not-drained",
        RECEIVES,
        &[(Stack, "google.golang.org/grpc.newClientStream.func*")],
        GRPC_STREAM,
    ),
    by_frames(
        "grpc-stream-not-drained",
        RECEIVES,
        &[(Stack, "google.golang.org/grpc.newNonRetryClientStream.func*")],
        GRPC_STREAM,
    ),
    // internal/transport/transport.go
    by_frames(
        "grpc-receive-without-deadline",
        RECEIVES,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*recvBufferReader).readClient")],
        GRPC_RECV,
    ),
    by_frames(
        "grpc-receive-without-deadline",
        RECEIVES,
        &[(
            Stack,
            "google.golang.org/grpc/internal/transport.(*recvBufferReader).readMessageHeaderClient",
        )],
        GRPC_RECV,
    ),
    // github.com/gorilla/websocket/conn.go
    by_frames(
        "websocket-read-without-deadline",
        &[Io],
        &[(Stack, "github.com/gorilla/websocket.(*Conn).advanceFrame")],
        WEBSOCKET,
    ),
    by_frames(
        "websocket-read-without-deadline",
        &[Io],
        &[(Stack, "github.com/gorilla/websocket.(*Conn).NextReader")],
        WEBSOCKET,
    ),
    // read.go of nhooyr.io/websocket and of its successor
    by_frames(
        "websocket-read-without-deadline",
        &[Io],
        &[(Stack, "nhooyr.io/websocket.(*Conn).readFrameHeader")],
        WEBSOCKET,
    ),
    by_frames(
        "websocket-read-without-deadline",
        &[Io],
        &[(Stack, "github.com/coder/websocket.(*Conn).readFrameHeader")],
        WEBSOCKET,
    ),
    // golang.org/x/net/websocket/hybi.go
    by_frames(
        "websocket-read-without-deadline",
        &[Io],
        &[(Stack, "golang.org/x/net/websocket.hybiFrameReaderFactory.NewFrameReader")],
        WEBSOCKET,
    ),
    // gopkg.in/natefinch/lumberjack.v2/lumberjack.go; the linker writes the last dot of a path as %2e.
    by_frames(
        "log-flusher-not-stopped",
        RECEIVES,
        &[(Stack, "gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun")],
        LUMBERJACK,
    ),
    by_frames(
        "log-flusher-not-stopped",
        RECEIVES,
        &[(Stack, "gopkg.in/natefinch/lumberjack.v2.(*Logger).millRun")],
        LUMBERJACK,
    ),
    // go.uber.org/zap/zapcore/buffered_write_syncer.go
    by_frames(
        "log-flusher-not-stopped",
        RECEIVES,
        &[(Stack, "go.uber.org/zap/zapcore.(*BufferedWriteSyncer).flushLoop")],
        LOG_FLUSHER,
    ),
    // database/sql/sql.go
    by_frames(
        "sql-rows-not-closed",
        RECEIVES,
        &[(Stack, "database/sql.(*Rows).awaitDone")],
        SQL_ROWS,
    ),
    by_frames(
        "sql-transaction-not-ended",
        RECEIVES,
        &[(Stack, "database/sql.(*Tx).awaitDone")],
        SQL_TX,
    ),
    by_frames("sql-pool-exhausted", RECEIVES, &[(Stack, "database/sql.(*DB).conn")], SQL_POOL),
    by_frames(
        "sql-pool-not-closed",
        RECEIVES,
        &[(Stack, "database/sql.(*DB).connectionOpener")],
        SQL_OPENED,
    ),
    // io/pipe.go: `PipeReader` and `PipeWriter` wait in their common part.
    by_frames("io-pipe-not-closed", RECEIVES, &[(Stack, "io.(*pipe).read")], PIPE),
    by_frames("io-pipe-not-closed", RECEIVES, &[(Stack, "io.(*pipe).write")], PIPE),
    // context/context.go: the goroutine that ties a child to a parent of a foreign type.
    by_frames(
        "context-never-cancelled",
        RECEIVES,
        &[(Stack, "context.(*cancelCtx).propagateCancel.func*")],
        CONTEXT,
    ),
    by_frames(
        "context-never-cancelled",
        RECEIVES,
        &[(Stack, "context.propagateCancel.func*")],
        CONTEXT,
    ),
    // sync/once.go
    by_frames(
        "once-never-returns",
        LOCKS,
        &[(Stack, "sync.(*Once).doSlow")],
        "the function given to sync.Once has not returned, and all others wait for it: look where it waits; \
         a Once that is called from within its own function never ends",
    ),
    // General, by what they wait on.
    by_object(
        "mutex-never-unlocked",
        LOCKS,
        Shape::Mutex,
        "whoever holds the mutex does not unlock it: `defer mu.Unlock()` right after Lock, no return, panic, \
         blocking call or second Lock in between, and the same order wherever two are taken",
    ),
    by_object(
        "rwmutex-never-unlocked",
        LOCKS,
        Shape::RwLock,
        "a holder of the read-write lock does not let go; a writer that waits keeps new readers out: `defer` the unlock, and never take \
         RLock again while holding it",
    ),
    by_object(
        "waitgroup-without-done",
        &[Group],
        Shape::WaitGroup,
        "the wait group never comes to zero: `defer wg.Done()` first in each goroutine, Add before `go`, \
         and as many Add as Done; a goroutine of the group may itself be stuck",
    ),
    by_object("cond-never-signalled", &[Group], Shape::Cond, COND),
    // sync/cond.go: up to 1.20 the object is not told.
    by_frames("cond-never-signalled", &[Group], &[(Stack, "sync.(*Cond).Wait")], COND),
    by_object(
        "send-unbuffered-no-receiver",
        &[ChanSend],
        Shape::Unbuffered,
        "the receiver has returned or never came: give the channel room for the result (`make(chan T, 1)`), \
         or send in a select with ctx.Done()",
    ),
    by_object(
        "send-full-buffer",
        &[ChanSend],
        Shape::Full,
        "the buffer is full and nobody drains it: look why the consumer stopped, and send in a select \
         with ctx.Done() or drop what cannot be kept",
    ),
    // A send beside other cases: the select's channels are one list, the runtime tells no direction.
    by_object(
        "ticker-loop-without-exit",
        RECEIVES,
        Shape::Ticker,
        "a loop over a ticker (or time.After) that nothing ends: add a case on ctx.Done() or a done channel, and `defer ticker.Stop()`",
    ),
    by_object(
        "time-after-in-loop",
        &[Select],
        Shape::Timeout,
        "if this select is in a loop, time.After makes a timer each turn: before Go 1.23 each stays on the heap until it fires, so memory grows \
         though no goroutine leaks; make one timer and Reset it, and add a case on ctx.Done()",
    ),
    by_object("context-never-cancelled", &[ChanReceive], Shape::Signal, CONTEXT),
    by_object("context-never-cancelled", &[Select], Shape::SomeSignal, CONTEXT),
    // runtime/chan.go: chanrecv2 is `v, ok := <-c`, and so the receive of a range.
    Row {
        name: "range-never-closed",
        classes: &[ChanReceive],
        object: Shape::Values,
        functions: &[(Stack, "runtime.chanrecv2")],
        advice: "receives until the channel is closed, and nobody closes it: let the sender, who knows when it is done, `defer close(c)`",
    },
    Row {
        name: "receive-no-sender",
        classes: &[ChanReceive],
        object: Shape::Values,
        functions: &[(Stack, "runtime.chanrecv1")],
        advice: "nobody sends what this waits for: let every path of the sender send or close, also the ones that \
             fail, and receive in a select with ctx.Done()",
    },
    by_object(
        "select-without-exit",
        &[Select],
        Shape::AllValues,
        "no case of this select ends it when the work is over: add a case on ctx.Done() or a done channel, and end that",
    ),
    by_frames(
        "read-without-deadline",
        &[Io],
        &[(Stack, "net.(*conn).Read")],
        "waits for a peer that may be gone: set a read deadline (SetReadDeadline, Server.ReadTimeout, IdleTimeout), \
         and enable keep-alives",
    ),
    by_frames(
        "sleep-loop-without-exit",
        &[Sleep],
        &[(Stack, "time.Sleep")],
        "a loop that sleeps and that nothing ends: wait for a ticker or for ctx.Done() in a select instead",
    ),
];

/// The table, in its order.
pub fn patterns() -> Vec<Pattern> {
    let pattern = |row: &Row| Pattern {
        name: Cow::Borrowed(row.name),
        advice: Cow::Borrowed(row.advice),
        classes: Cow::Borrowed(row.classes),
        object: row.object,
        functions: row
            .functions
            .iter()
            .map(|&(place, name)| FunctionAt::new(place, name))
            .collect(),
    };
    TABLE.iter().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_has_a_stable_name_an_advice_and_something_to_be_known_by() {
        for p in patterns() {
            let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(!p.name.is_empty() && p.name.chars().all(kebab), "{}", p.name);
            assert!(p.advice.len() > 20 && !p.advice.contains("  "), "{}: {}", p.name, p.advice);
            assert!(!p.classes.is_empty(), "{} fits every wait", p.name);
            assert!(
                *p.classes == [Never] || p.object != Shape::Any || !p.functions.is_empty(),
                "{}",
                p.name
            );
        }
    }

    #[test]
    fn the_mistakes_everybody_makes_are_all_there() {
        let known: Vec<_> = patterns().into_iter().map(|p| p.name).collect();
        for name in [
            "send-unbuffered-no-receiver",
            "send-full-buffer",
            "range-never-closed",
            "select-without-exit",
            "context-never-cancelled",
            "ticker-loop-without-exit",
            "waitgroup-without-done",
            "mutex-never-unlocked",
            "nil-channel",
            "http-body-not-closed",
            "grpc-stream-not-drained",
            "websocket-read-without-deadline",
            "log-flusher-not-stopped",
            "sql-rows-not-closed",
            "time-after-in-loop",
        ] {
            assert!(known.iter().any(|k| k == name), "{name}");
        }
    }
}
