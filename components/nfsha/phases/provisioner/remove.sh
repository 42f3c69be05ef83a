! id halinux-volumes >/dev/null 2>&1 || userdel halinux-volumes
