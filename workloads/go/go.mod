module loiter/workloads

go 1.19
