//! Goroutines that wait by nature in Go programs: the standard library's own and those of
//! libraries that nearly every service uses. Names as `goroutine?debug=2` writes them, read in the
//! sources named beside them. A pool of workers is not here: idle or stuck, it looks the same.

use std::borrow::Cow;

use crate::base::{FunctionAt, IdlePattern, Numbers, Peers, Place, WaitClass};

use Place::{Stack, Start};
use WaitClass::{ChanReceive, Group, Io, Never, Runtime, Select, Sleep};

/// Name, why it is normal, wait classes, functions that are all there.
type Row = (&'static str, &'static str, &'static [WaitClass], &'static [(Place, &'static str)]);

const MAIN: &str = "the main goroutine waits for the end of the program";
const HTTP_SERVER: &str = "a connection kept alive waits for its next request";
const HTTP_CLIENT: &str = "a connection kept in the pool waits for its next use";
const HTTP2: &str = "an open HTTP/2 connection waits for frames";
const SQL: &str = "a worker that database/sql keeps for each pool of connections";
const LOG_FLUSH: &str = "flushes the log now and then";
const GRPC: &str = "an open gRPC connection waits for work";
const WATCH: &str = "waits for changes to be told of";
const LOG_ROTATION: &str = "waits until a log file is to be rotated";
const GRPC_STREAM: &str =
    "a handler waits for the client's next message; how long is up to the client";
const ETCD_LEASE: &str = "keeps leases alive for as long as a client wants";
const BROKER: &str = "a loop of a connection to a message broker";
const ANY: &[WaitClass] = &[];
/// What a loop does that waits for work: not a lock, not a send.
const WORK: &[WaitClass] = &[ChanReceive, Select, Io, Sleep];
/// Waits that one channel or more can end.
const RECEIVES: &[WaitClass] = &[ChanReceive, Select];

/// Special before general: the first that fits names the task.
const TABLE: &[Row] = &[
    // runtime/proc.go. Only waits that end with the program: main may well be stuck on a lock.
    (
        "main goroutine",
        MAIN,
        &[ChanReceive, Select, Never, Group, Io, Sleep],
        &[(Start, "runtime.main")],
    ),
    ("runtime worker", "belongs to the Go runtime", &[Runtime], &[]),
    // os/signal/signal_unix.go
    ("signal loop", "waits for signals", ANY, &[(Stack, "os/signal.loop")]),
    // internal/poll/fd_unix.go: every Accept of package net comes through here.
    (
        "accept loop",
        "a listener waits for connections",
        &[Io],
        &[(Stack, "internal/poll.(*FD).Accept")],
    ),
    // net/http/server.go
    (
        "HTTP keep-alive",
        HTTP_SERVER,
        &[Io],
        &[(Stack, "net/http.(*conn).serve"), (Stack, "bufio.(*Reader).Peek")],
    ),
    (
        "HTTP keep-alive",
        HTTP_SERVER,
        &[Io],
        &[(Stack, "net/http.(*conn).serve"), (Stack, "net/http.(*conn).readRequest")],
    ),
    (
        "HTTP background read",
        "watches a connection for its end while a request is served",
        &[Io],
        &[(Stack, "net/http.(*connReader).backgroundRead")],
    ),
    // net/http/h2_bundle.go up to 1.26, net/http/internal/http2 from 1.27, golang.org/x/net/http2
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "net/http.(*http2serverConn).serve")]),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "net/http.(*http2serverConn).readFrames")]),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "net/http.(*http2ClientConn).readLoop")]),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "net/http/internal/http2.(*serverConn).serve")]),
    (
        "HTTP/2 connection",
        HTTP2,
        WORK,
        &[(Stack, "net/http/internal/http2.(*serverConn).readFrames")],
    ),
    (
        "HTTP/2 connection",
        HTTP2,
        WORK,
        &[(Stack, "net/http/internal/http2.(*ClientConn).readLoop")],
    ),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "golang.org/x/net/http2.(*serverConn).serve")]),
    (
        "HTTP/2 connection",
        HTTP2,
        WORK,
        &[(Stack, "golang.org/x/net/http2.(*serverConn).readFrames")],
    ),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "golang.org/x/net/http2.(*ClientConn).readLoop")]),
    // net/http/transport.go: in a select, readLoop waits for the end of a response's body.
    ("HTTP client connection", HTTP_CLIENT, &[Io], &[(Stack, "net/http.(*persistConn).readLoop")]),
    (
        "HTTP client connection",
        HTTP_CLIENT,
        &[Select],
        &[(Stack, "net/http.(*persistConn).writeLoop")],
    ),
    // database/sql/sql.go
    ("SQL connection cleaner", SQL, &[Select], &[(Stack, "database/sql.(*DB).connectionCleaner")]),
    // github.com/golang/glog, k8s.io/klog, k8s.io/klog/v2
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "github.com/golang/glog.(*loggingT).flushDaemon")]),
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "github.com/golang/glog.(*fileSink).flushDaemon")]),
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "k8s.io/klog.(*loggingT).flushDaemon")]),
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "k8s.io/klog/v2.(*loggingT).flushDaemon")]),
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "k8s.io/klog/v2.(*flushDaemon).run*")]),
    // go.opencensus.io/stats/view/worker.go
    (
        "OpenCensus worker",
        "collects statistics now and then",
        &[Select],
        &[(Stack, "go.opencensus.io/stats/view.(*worker).start")],
    ),
    // google.golang.org/grpc
    (
        "gRPC transport",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*loopyWriter).run")],
    ),
    (
        "gRPC transport",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*controlBuffer).get")],
    ),
    (
        "gRPC transport",
        GRPC,
        &[Io],
        &[(Stack, "google.golang.org/grpc/internal/transport.(*http2Client).reader")],
    ),
    (
        "gRPC transport",
        GRPC,
        &[Io],
        &[(Stack, "google.golang.org/grpc/internal/transport.(*http2Server).HandleStreams")],
    ),
    (
        "gRPC transport",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*http2Client).keepalive")],
    ),
    (
        "gRPC transport",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*http2Server).keepalive")],
    ),
    (
        "gRPC serializer",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run")],
    ),
    (
        "gRPC balancer",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc.(*ccBalancerWrapper).watcher")],
    ),
    // github.com/fsnotify/fsnotify/backend_inotify.go
    ("file watcher", WATCH, WORK, &[(Stack, "github.com/fsnotify/fsnotify.(*inotify).readEvents")]),
    ("file watcher", WATCH, WORK, &[(Stack, "github.com/fsnotify/fsnotify.(*Watcher).readEvents")]),
    // internal/transport/transport.go; a client's stream waits in readClient instead.
    (
        "gRPC server stream",
        GRPC_STREAM,
        RECEIVES,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*recvBufferReader).read")],
    ),
    (
        "gRPC server stream",
        GRPC_STREAM,
        RECEIVES,
        &[(
            Stack,
            "google.golang.org/grpc/internal/transport.(*recvBufferReader).readMessageHeader",
        )],
    ),
    // go.etcd.io/etcd, 3.4: etcdserver/api/v3rpc/watch.go, lease.go, clientv3/watch.go, lease.go
    (
        "etcd watch",
        WATCH,
        WORK,
        &[(Stack, "go.etcd.io/etcd/etcdserver/api/v3rpc.(*serverWatchStream).sendLoop")],
    ),
    (
        "etcd watch",
        WATCH,
        WORK,
        &[(Stack, "go.etcd.io/etcd/etcdserver/api/v3rpc.(*watchServer).Watch")],
    ),
    (
        "etcd lease",
        ETCD_LEASE,
        WORK,
        &[(Stack, "go.etcd.io/etcd/etcdserver/api/v3rpc.(*LeaseServer).LeaseKeepAlive")],
    ),
    ("etcd watch", WATCH, WORK, &[(Stack, "go.etcd.io/etcd/clientv3.(*watchGrpcStream).run")]),
    // github.com/oklog/run/group.go
    (
        "actor of a run group",
        "runs until one of its group ends, which is when the program ends",
        WORK,
        &[(Start, "github.com/oklog/run.(*Group).Run.*")],
    ),
    // General, by what they wait for.
    ("timer", "sleeps until a time it has set itself", &[Sleep], &[]),
    ("network or file input", "waits for input; how long is up to the other side", &[Io], &[]),
];

/// Of these a few are normal: what a program opens once has one.
const FEW: &[Row] = &[
    // database/sql/sql.go
    ("SQL connection opener", SQL, &[Select], &[(Stack, "database/sql.(*DB).connectionOpener")]),
    // gopkg.in/natefinch/lumberjack.v2; the linker writes the last dot of a path as %2e.
    (
        "log rotation",
        LOG_ROTATION,
        &[ChanReceive],
        &[(Stack, "gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun")],
    ),
    (
        "log rotation",
        LOG_ROTATION,
        &[ChanReceive],
        &[(Stack, "gopkg.in/natefinch/lumberjack.v2.(*Logger).millRun")],
    ),
    // go.uber.org/zap/zapcore/buffered_write_syncer.go
    (
        "log flusher",
        LOG_FLUSH,
        WORK,
        &[(Stack, "go.uber.org/zap/zapcore.(*BufferedWriteSyncer).flushLoop")],
    ),
    // go.opentelemetry.io/otel/sdk/trace/batch_span_processor.go
    (
        "OpenTelemetry exporter",
        "exports spans now and then",
        WORK,
        &[(Stack, "go.opentelemetry.io/otel/sdk/trace.(*batchSpanProcessor).processQueue")],
    ),
    // github.com/jackc/pgx, v4 and v5: pgxpool/pool.go
    (
        "SQL pool check",
        SQL,
        WORK,
        &[(Stack, "github.com/jackc/pgx/v4/pgxpool.(*Pool).backgroundHealthCheck")],
    ),
    (
        "SQL pool check",
        SQL,
        WORK,
        &[(Stack, "github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck")],
    ),
    // github.com/Shopify/sarama/utils.go: all of its loops begin here.
    ("Kafka client", BROKER, WORK, &[(Stack, "github.com/Shopify/sarama.withRecover")]),
    // github.com/dgraph-io/ristretto/cache.go, policy.go
    (
        "cache worker",
        "keeps a cache in order",
        WORK,
        &[(Stack, "github.com/dgraph-io/ristretto.(*Cache).processItems")],
    ),
    (
        "cache worker",
        "keeps a cache in order",
        WORK,
        &[(Stack, "github.com/dgraph-io/ristretto.(*defaultPolicy).processItems")],
    ),
    // github.com/caddyserver/certmagic/maintain.go
    (
        "certificate maintenance",
        "renews certificates when they are due",
        WORK,
        &[(Stack, "github.com/caddyserver/certmagic.(*Cache).maintainAssets")],
    ),
];

/// Of these there are as many as there are connections, which a pool of its own bounds.
const CONNECTIONS: &[Row] = &[
    // github.com/go-sql-driver/mysql/connection.go
    (
        "SQL connection watcher",
        "watches for the end of a query's context",
        RECEIVES,
        &[(Stack, "github.com/go-sql-driver/mysql.(*mysqlConn).startWatcher.func*")],
    ),
    // github.com/redis/go-redis/v9/pubsub.go
    (
        "Redis subscription",
        WATCH,
        WORK,
        &[(Stack, "github.com/redis/go-redis/v9.(*channel).initHealthCheck.func*")],
    ),
];

/// The table, in its order.
pub fn patterns() -> Vec<IdlePattern> {
    let few = FEW.iter().map(|row| pattern(row, Numbers::Few));
    let rest = CONNECTIONS.iter().chain(TABLE).map(|row| pattern(row, Numbers::Any));
    few.chain(rest).collect()
}

fn pattern(&(name, why, classes, functions): &Row, numbers: Numbers) -> IdlePattern {
    IdlePattern {
        name: Cow::Borrowed(name),
        why: Cow::Borrowed(why),
        classes: Cow::Borrowed(classes),
        functions: functions.iter().map(|&(place, name)| FunctionAt::new(place, name)).collect(),
        numbers,
        // A goroutine does not name its connections; a thread of this class that does is told by them.
        peers: if functions.is_empty() { Peers::Unclear } else { Peers::Normal },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_says_what_and_why_and_by_what_it_is_known() {
        for p in patterns() {
            assert!(!p.name.is_empty() && !p.why.is_empty());
            assert!(
                !p.classes.is_empty() || !p.functions.is_empty(),
                "{} matches everything",
                p.name
            );
        }
    }

    #[test]
    fn main_on_a_lock_is_not_idle() {
        let main = patterns().into_iter().find(|p| p.name == "main goroutine").unwrap();
        assert!(
            !main.classes.contains(&WaitClass::Lock)
                && !main.classes.contains(&WaitClass::ChanSend)
        );
    }
}
