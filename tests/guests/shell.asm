; A BIOS of 4 KiB that does what it is told by single letters on the serial port, and waits in HLT meanwhile.
; It says "ready" and counts IRQ 0 (8254, 100 Hz) in the dword at 504h. A letter that is no order comes back as a capital.
;   q  ends the machine with status 33 (isa_debug_exit)     d  halts with interrupts off
;   s  shuts the processor down by a triple fault           w  works for a while, then says "worked"
;   t  says the hours, minutes and seconds of the CMOS clock

TICKS   equ 504h
COM1    equ 3f8h

bits 16
org 0f000h
start:  cli
        cld
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 7000h
        mov word [20h * 4], tick
        mov word [20h * 4 + 2], cs
        mov word [24h * 4], wake
        mov word [24h * 4 + 2], cs
        mov dword [TICKS], 0
        mov al, 11h             ; 8259A pair: from 20h and 28h; IRQ 0 and 4
        out 20h, al
        out 0a0h, al
        mov al, 20h
        out 21h, al
        mov al, 28h
        out 0a1h, al
        mov al, 4
        out 21h, al
        mov al, 2
        out 0a1h, al
        mov al, 1
        out 21h, al
        out 0a1h, al
        mov al, 0eeh
        out 21h, al
        mov al, 0ffh
        out 0a1h, al
        mov al, 34h             ; 8254: 100 Hz
        out 43h, al
        mov al, 9ch
        out 40h, al
        mov al, 2eh
        out 40h, al
        mov dx, COM1 + 3        ; 16550A: 115200 8N1, an interrupt for what is received
        mov al, 83h
        out dx, al
        mov dx, COM1
        mov al, 1
        out dx, al
        mov dx, COM1 + 3
        mov al, 3
        out dx, al
        mov dx, COM1 + 1
        mov al, 1
        out dx, al
        mov dx, COM1 + 4
        mov al, 0bh
        out dx, al
        mov si, hello
        call print
        sti

idle:   hlt
        call letter
        jz idle
        cmp al, 'q'
        je quit
        cmp al, 'd'
        je dead
        cmp al, 's'
        je shut
        cmp al, 'w'
        je work
        cmp al, 't'
        je time
        cmp al, 'a'
        jb .back
        and al, 0dfh
.back:  call send
        jmp idle

quit:   mov dx, 501h
        mov al, 10h
        out dx, al
        jmp idle
dead:   mov si, bye
        call print
        cli
        hlt
shut:   lidt [cs:none]
        ud2
work:   mov ecx, 3000000
.loop:  dec ecx
        jnz .loop
        mov si, worked
        call print
        jmp idle
time:   mov bl, 4
.next:  mov al, bl
        out 70h, al
        in al, 71h
        call bcd
        sub bl, 2
        jns .next
        mov si, line
        call print
        jmp idle

bcd:    push ax
        shr al, 4
        add al, '0'
        call send
        pop ax
        and al, 0fh
        add al, '0'
send:   push dx
        push ax
        mov dx, COM1 + 5
.wait:  in al, dx
        test al, 20h
        jz .wait
        mov dx, COM1
        pop ax
        out dx, al
        pop dx
        ret

print:  cs lodsb
        test al, al
        jz .end
        call send
        jmp print
.end:   ret

letter: mov dx, COM1 + 5        ; ZF: there is none; else AL
        in al, dx
        test al, 1
        jz .end
        mov dx, COM1
        in al, dx
.end:   ret

tick:   inc dword [TICKS]
wake:   push ax
        mov al, 20h
        out 20h, al
        pop ax
        iret

hello:  db "ready", 13, 10, 0
bye:    db "bye", 0
worked: db "worked", 13, 10, 0
line:   db 13, 10, 0
none:   dw 0
        dd 0

times 0ff0h - ($ - $$) db 0
        jmp 0f000h:start
times 1000h - ($ - $$) db 0
