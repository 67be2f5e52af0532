module loiter/xtask/under_systemd

go 1.19
