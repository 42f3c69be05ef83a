no_service keepalived.service
! getent passwd keepalived_script >/dev/null || userdel keepalived_script
