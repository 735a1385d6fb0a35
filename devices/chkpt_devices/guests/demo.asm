; The built-in guest: what `chkpt demo` runs. A boot sector, and behind it the sectors that it loads. It asks how many
; rounds it shall go; in each it writes AREA sectors of the disk, reads them back and checks them, all by interrupts:
;
;   IRQ 0   the 8254 at 4 kHz: ticks are counted
;   IRQ 4   the 16550A: each character that is sent or typed
;   IRQ 14  the ATA channel: each sector, by turns with single INs and OUTs of the data port and with REP INS and OUTS
;
; What it writes follows from the sums of what it read before, so whatever goes wrong anywhere is in the last line. While
; it asks it sleeps with the 8254 stopped, and nothing happens until a key comes.
;
; It needs no BIOS, only what starts a boot sector: boot.asm, SeaBIOS, or QEMU.

AREA    equ 256                 ; sectors, in commands of 4, from LBA 64 on
FIRST   equ 64
BATCH   equ 4

TICKS   equ 500h                ; dwords: interrupts of the 8254
DISKS   equ 504h                ; and of the disk
SENT    equ 508h                ; characters sent
CHECKED equ 50ch                ; sectors read and checked
WRONG   equ 510h                ; of them wrong
SUM     equ 514h                ; over all that was read
SEED    equ 518h                ; of what is written
ROUND   equ 51ch                ; bytes: this round, and the last
LAST    equ 51dh
KEY     equ 51eh                ; what was typed, or 0
READY   equ 51fh                ; the disk has interrupted
TAIL    equ 520h                ; where in RING is the next character to send, and behind the last
HEAD    equ 521h
RING    equ 600h                ; 256 characters
SECTOR  equ 1000h               ; 512 bytes, the last dword their sum
STACK   equ 7c00h

DATA    equ 1f0h
CONTROL equ 3f6h
COM1    equ 3f8h
PIC1    equ 20h
PIC2    equ 0a0h
VECTOR  equ 20h                 ; of IRQ 0; 28h of IRQ 8

bits 16
org 7c00h
        jmp 0:start
start:  cli
        cld
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, STACK
        mov dx, CONTROL         ; load the rest without interrupts
        mov al, 2               ; nIEN
        out dx, al
        mov eax, 1
        mov cl, SECTORS - 1
        mov bl, 20h             ; READ SECTORS
        call command
        mov di, 7c00h + 512
        mov cx, SECTORS - 1
.load:  push cx
        mov dx, DATA + 7
.wait:  in al, dx
        test al, 80h            ; BSY
        jnz .wait
        test al, 8              ; DRQ
        jz failed
        mov dx, DATA
        mov cx, 256
        rep insw
        pop cx
        loop .load
        jmp main

failed: mov dx, COM1            ; there is no more to say it with than this
        mov al, '?'
        out dx, al
        cli
        hlt

; Give the disk command BL for CL sectors from LBA EAX on.
command:
        push eax
        mov dx, DATA + 2
        mov al, cl
        out dx, al              ; sector count
        inc dx
        pop eax
        out dx, al              ; LBA low, mid, high
        shr eax, 8
        inc dx
        out dx, al
        shr eax, 8
        inc dx
        out dx, al
        inc dx
        mov al, 0e0h            ; drive 0, LBA
        out dx, al
        inc dx
        mov al, bl
        out dx, al
        ret

        times 510 - ($ - $$) db 0
        dw 0aa55h

; -- everything else --------------------------------------------------------------------------------------------------

main:   xor eax, eax
        mov di, TICKS
        mov cx, (HEAD + 1 - TICKS + 1) / 2
        rep stosw
        mov word [(VECTOR + 0) * 4], tick
        mov word [(VECTOR + 0) * 4 + 2], 0
        mov word [(VECTOR + 4) * 4], serial
        mov word [(VECTOR + 4) * 4 + 2], 0
        mov word [(VECTOR + 14) * 4], disk
        mov word [(VECTOR + 14) * 4 + 2], 0
        mov al, 11h             ; ICW1 of both 8259A: edges, cascade, ICW4 follows
        out PIC1, al
        out PIC2, al
        mov al, VECTOR          ; ICW2
        out PIC1 + 1, al
        mov al, VECTOR + 8
        out PIC2 + 1, al
        mov al, 4               ; ICW3: the slave is at IRQ 2
        out PIC1 + 1, al
        mov al, 2
        out PIC2 + 1, al
        mov al, 1               ; ICW4: 8086
        out PIC1 + 1, al
        out PIC2 + 1, al
        mov al, ~15h & 0ffh     ; OCW1: IRQ 0, 2 and 4; IRQ 14
        out PIC1 + 1, al
        mov al, ~40h & 0ffh
        out PIC2 + 1, al
        mov dx, COM1 + 3        ; 115200 bits a second, 8N1, no FIFO
        mov al, 80h
        out dx, al
        mov dx, COM1
        mov al, 1
        out dx, al
        inc dx
        mov al, 0
        out dx, al
        mov dx, COM1 + 3
        mov al, 3
        out dx, al
        inc dx
        mov al, 0bh             ; MCR: DTR, RTS, OUT2, which lets the interrupt through
        out dx, al
        mov dx, COM1 + 1
        mov al, 1               ; IER: what is received
        out dx, al
        mov dx, DATA + 7        ; whatever the disk wanted is done
        in al, dx
        mov dx, CONTROL
        mov al, 0
        out dx, al
        sti
        mov si, hello
        call print

ask:    mov al, 30h             ; 8254, counter 0, mode 0: waits for a count that does not come
        out 43h, al
        mov si, question
        call print
.wait:  cli
        mov al, [KEY]
        test al, al
        jnz .typed
        sti
        hlt
        jmp .wait
.typed: mov byte [KEY], 0
        sti
        cmp al, 'q'
        je quit
        sub al, '1'
        cmp al, 8
        ja .wait                ; no digit of 1 to 9
        inc al
        mov [LAST], al
        add al, '0'
        call say
        call newline
        xor eax, eax
        mov di, TICKS
        mov cx, 2
        rep stosd               ; TICKS, DISKS
        mov di, CHECKED
        mov cx, 4
        rep stosd               ; CHECKED, WRONG, SUM, SEED
        mov [ROUND], al
        mov al, 34h             ; 8254, counter 0, mode 2
        out 43h, al
        mov al, 1193182 / 4000 & 0ffh
        out 40h, al
        mov al, 1193182 / 4000 >> 8
        out 40h, al

round:  inc byte [ROUND]
        mov eax, FIRST
.write: push eax
        mov cl, BATCH
        mov bl, 30h             ; WRITE SECTORS
        call command
        mov dx, CONTROL
.drq:   in al, dx               ; the first block is asked for without an interrupt
        test al, 8
        jz .drq
        mov cx, BATCH
.wnext: push cx
        call fill
        pop cx
        push cx
        call put
        call wait_for_disk
        pop cx
        loop .wnext
        pop eax
        add eax, BATCH
        cmp eax, FIRST + AREA
        jb .write
        mov eax, FIRST
.read:  push eax
        mov cl, BATCH
        mov bl, 20h             ; READ SECTORS
        call command
        mov cx, BATCH
.rnext: push cx
        call wait_for_disk
        pop cx
        push cx
        call get
        call check
        pop cx
        loop .rnext
        pop eax
        add eax, BATCH
        cmp eax, FIRST + AREA
        jb .read
        mov eax, [SUM]          ; what comes next follows from what was read
        mov [SEED], eax
        mov si, r_round
        call print
        movzx eax, byte [ROUND]
        call decimal
        mov si, r_sum
        call print
        mov eax, [SUM]
        call hex
        mov si, r_ticks
        call print
        mov eax, [TICKS]
        call decimal
        mov si, r_end
        call print
        cmp byte [KEY], 0       ; any key stops, and a digit begins anew
        jne total
        mov al, [ROUND]
        cmp al, [LAST]
        jb round

total:  mov si, t_total
        call print
        mov eax, [CHECKED]
        call decimal
        mov si, t_checked
        call print
        mov eax, [WRONG]
        call decimal
        mov si, t_wrong
        call print
        mov eax, [DISKS]
        call decimal
        mov si, t_disks
        call print
        jmp ask

quit:   mov si, bye
        call print
.drain: mov al, [TAIL]          ; until the last character is out
        cmp al, [HEAD]
        jne .drain
        cli
        mov dx, 501h            ; isa_debug_exit, where there is one
        mov al, 0
        out dx, al
        hlt

; -- the disk ---------------------------------------------------------------------------------------------------------

; Fill SECTOR from SEED: 127 dwords of a linear congruential generator (Numerical Recipes' constants) and their sum.
fill:   mov di, SECTOR
        mov cx, 127
        mov eax, [SEED]
        xor ebx, ebx
.next:  imul eax, eax, 1664525
        add eax, 1013904223
        stosd
        add ebx, eax
        rol ebx, 5
        loop .next
        mov [SEED], eax
        mov [di], ebx
        ret

; Check SECTOR against its sum, and add that to SUM.
check:  mov si, SECTOR
        mov cx, 127
        xor ebx, ebx
.next:  lodsd
        add ebx, eax
        rol ebx, 5
        loop .next
        inc dword [CHECKED]
        cmp ebx, [si]
        je .right
        inc dword [WRONG]
.right: mov eax, [SUM]
        rol eax, 7
        xor eax, ebx
        mov [SUM], eax
        ret

; Write SECTOR to the data port: a word at a time where CX is even, else all at once.
put:    mov si, SECTOR
        mov dx, DATA
        test cl, 1
        mov cx, 256
        jnz .all
.word:  lodsw
        out dx, ax
        loop .word
        ret
.all:   rep outsw
        ret

; Read SECTOR from there: a word at a time where CX is odd, so both ways meet each sector.
get:    mov di, SECTOR
        mov dx, DATA
        test cl, 1
        mov cx, 256
        jz .all
.word:  in ax, dx
        stosw
        loop .word
        ret
.all:   rep insw
        ret

; Sleep until the disk has interrupted.
wait_for_disk:
        cli
        cmp byte [READY], 0
        jne .ready
        sti
        hlt                     ; no interrupt comes between STI and HLT
        jmp wait_for_disk
.ready: mov byte [READY], 0
        sti
        ret

; -- the serial port --------------------------------------------------------------------------------------------------

; Send AL, once there is room in RING.
say:    push bx
        push dx
        mov bl, al
.full:  cli
        mov al, [HEAD]
        inc al
        cmp al, [TAIL]
        jne .room
        sti
        hlt
        jmp .full
.room:  dec al
        movzx di, al
        mov [RING + di], bl
        inc byte [HEAD]
        mov dx, COM1 + 1        ; IER: what is received, and that there is room to send
        mov al, 3
        out dx, al
        sti
        pop dx
        pop bx
        ret

; Print the text at SI, which ends with 0.
print:  lodsb
        test al, al
        jz .done
        call say
        jmp print
.done:  ret

newline: mov si, r_end
        jmp print

; Print EAX in decimal.
decimal:
        mov ebx, 10
        xor cx, cx
.next:  xor edx, edx
        div ebx
        push dx
        inc cx
        test eax, eax
        jnz .next
.print: pop ax
        add al, '0'
        call say
        loop .print
        ret

; Print EAX in hexadecimal.
hex:    mov cx, 8
.next:  rol eax, 4
        push eax
        and al, 0fh
        cmp al, 10
        sbb al, 69h             ; 0-9 to 96h-9fh, A-F to a1h-a6h; DAS makes characters of them
        das
        call say
        pop eax
        loop .next
        ret

; -- interrupts -------------------------------------------------------------------------------------------------------

tick:   push ax
        inc dword [TICKS]
        mov al, 20h             ; EOI
        out PIC1, al
        pop ax
        iret

disk:   push ax
        push dx
        mov dx, DATA + 7        ; to read the status is to take the interrupt
        in al, dx
        inc dword [DISKS]
        mov byte [READY], 1
        mov al, 20h
        out PIC2, al
        out PIC1, al
        pop dx
        pop ax
        iret

serial: push ax
        push bx
        push dx
.next:  mov dx, COM1 + 2        ; IIR: what is it?
        in al, dx
        test al, 1
        jnz .done               ; nothing more
        and al, 0eh
        cmp al, 2
        je .send
        mov dx, COM1            ; received
        in al, dx
        mov [KEY], al
        jmp .next
.send:  mov al, [TAIL]
        cmp al, [HEAD]
        je .empty
        movzx bx, al
        mov al, [RING + bx]
        inc byte [TAIL]
        inc dword [SENT]
        mov dx, COM1
        out dx, al
        jmp .next
.empty: mov dx, COM1 + 1
        mov al, 1
        out dx, al
        jmp .next
.done:  mov al, 20h
        out PIC1, al
        pop dx
        pop bx
        pop ax
        iret

hello:  db 13, 10, "The guest that comes with chkpt: it writes the disk, reads it back and checks it.", 13, 10, 0
question: db "How many rounds, 1 to 9 (q: quit)? ", 0
r_round: db "round ", 0
r_sum:  db ": 256 sectors written and read back, sum ", 0
r_ticks: db ", tick ", 0
r_end:  db 13, 10, 0
t_total: db "total: ", 0
t_checked: db " sectors checked, ", 0
t_wrong: db " wrong, ", 0
t_disks: db " interrupts of the disk", 13, 10, 0
bye:    db "q", 13, 10, "bye", 13, 10, 0

SECTORS equ ($ - $$ + 511) / 512
        times SECTORS * 512 - ($ - $$) db 0
