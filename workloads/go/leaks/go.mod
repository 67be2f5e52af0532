module loiter/workloads/leaks

go 1.19

require (
	github.com/gorilla/websocket v1.0.0
	google.golang.org/grpc v1.0.0
	gopkg.in/natefinch/lumberjack.v2 v2.0.0
	loiter/workloads v0.0.0
)

replace (
	github.com/gorilla/websocket => ./lookalikes/websocket
	google.golang.org/grpc => ./lookalikes/grpc
	gopkg.in/natefinch/lumberjack.v2 => ./lookalikes/lumberjack
	loiter/workloads => ../
)
