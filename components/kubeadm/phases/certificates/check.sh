#!/bin/sh
# shellcheck shell=sh disable=SC2154
for file in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt; do
	openssl x509 -noout -checkend $((days * 86400 / 2)) -in "$file" >/dev/null || differs "$file ends $(openssl x509 -noout -enddate -in "$file" | cut -d= -f2)"
done
! systemctl is-failed -q halinux-kubernetes-certificates.service || differs "the last renewal of certificates failed"
