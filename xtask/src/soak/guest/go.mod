module loiter/xtask/guest

go 1.19
