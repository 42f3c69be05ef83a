getent passwd keepalived_script >/dev/null || differs "user keepalived_script is missing"
