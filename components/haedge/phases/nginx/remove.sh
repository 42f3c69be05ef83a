no_service nginx.service
rm -f /run/halinux/nginx
