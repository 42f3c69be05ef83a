module github.com/halinux/halinux

go 1.26
