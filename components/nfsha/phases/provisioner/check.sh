id halinux-volumes >/dev/null 2>&1 || differs "the user halinux-volumes is missing"
