module loiter.test/zoo

go 1.19
