# What is deleted stays so.
:
