no_service nginx.service
rm -rf /run/halinux/nginx /etc/nginx/tls
