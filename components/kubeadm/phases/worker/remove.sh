#!/bin/sh
# shellcheck shell=sh disable=SC2154
no_service kubelet.service
rm -rf /etc/kubernetes/kubelet.conf /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env
