"""What people see of a text: characters that show nothing, letters that look like others, the order on the screen."""
