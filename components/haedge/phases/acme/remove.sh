no_service halinux-acme.timer
rm -rf /var/lib/dehydrated
